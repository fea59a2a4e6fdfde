import Foundation
import NexusEdge

/// A bundle on this device, as its manifest describes it.
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
    /// Hash by which packages know their bundle.
    let identity: String
    /// Part of the app, so it cannot be deleted.
    let isBuiltIn: Bool

    var id: String { folder.path }

    /// - Throws: `NexusEdgeError` if the folder holds no bundle that this app understands
    init(folder: URL, isBuiltIn: Bool) throws {
        let manifest = try Manifest(folder: folder)
        self.folder = folder
        self.isBuiltIn = isBuiltIn
        name = manifest.model.name
        if case .vlm = manifest.facts { purpose = .answers } else { purpose = .compares }
        weights = manifest.model.weights
        source = manifest.model.source
        license = manifest.model.license
        identity = manifest.model.identity
    }

    /// What a reader of the results has to know.
    var caution: String {
        let use = " Results can be wrong. Not a medical device."
        if weights == "real" { return "Weights: \(source)." + use }
        return "Weights: \(weights), not the published model's. No result says anything about that model." + use
    }
}
