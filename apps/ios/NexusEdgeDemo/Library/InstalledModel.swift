import Foundation
import NexusEdge

/// A bundle on this device, as its metadata.json describes it.
struct InstalledModel: Identifiable, Hashable, Sendable {
    enum Task: Sendable { case answers, compares }

    let folder: URL
    let name: String
    let task: Task
    /// Whose numbers these are: "real", or a small checkpoint of the project's own.
    let weights: String
    let license: String?
    /// Hash of the bundle's manifest.
    let manifest: String
    /// Part of the app, so it cannot be deleted.
    let isBuiltIn: Bool

    var id: String { folder.path }

    /// - Throws: `NexusEdgeError` if the folder holds no bundle that this app understands
    init(folder: URL, isBuiltIn: Bool) throws {
        let metadata = try CoreMLMetadata(folder: folder)
        self.folder = folder
        self.isBuiltIn = isBuiltIn
        name = metadata.model.name
        task = metadata.generation == nil ? .compares : .answers
        weights = metadata.model.weights
        license = metadata.model.license
        manifest = metadata.model.manifestSha256
    }

    /// What a reader of the results has to know.
    var caution: String {
        let purpose = task == .compares ? " Not a medical device." : " Answers can be wrong."
        if weights == "real" { return "Published weights." + purpose }
        return "Weights: \(weights), not the published model's. No result says anything about that model." + purpose
    }
}
