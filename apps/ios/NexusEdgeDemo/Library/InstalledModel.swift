import Foundation
import NexusEdge

/// A bundle on this device, as its metadata.json describes it.
struct InstalledModel: Identifiable, Hashable, Sendable {
    enum Purpose: Sendable { case answers, compares }

    let folder: URL
    let name: String
    let purpose: Purpose
    /// Whose numbers these are: "real", or a small checkpoint of the project's own.
    let weights: String
    /// Where the checkpoint came from.
    let source: String
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
        purpose = metadata.generation == nil ? .compares : .answers
        weights = metadata.model.weights
        source = metadata.model.source
        license = metadata.model.license
        manifest = metadata.model.manifestSha256
    }

    /// What a reader of the results has to know.
    var caution: String {
        let use = " Results can be wrong. Not a medical device."
        if weights == "real" { return "Weights: \(source)." + use }
        return "Weights: \(weights), not the published model's. No result says anything about that model." + use
    }
}
