import Foundation

/// manifest.json of a bundle, format 3, as far as an app needs it; runtimes/schema/manifest.schema.json describes it.
public struct Manifest: Sendable, Equatable {
    /// The bundle's folder, which packages are relative to.
    public let folder: URL
    public let model: ModelInfo
    /// Tokens that the model was made for; of a dual encoder, ids of a text at most.
    public let contextLength: Int
    public let facts: RuntimeFacts
    /// Factor of a cosine before the softmax; nil for a model that writes.
    public let logitScale: Double?
    /// In the order in which data goes through them.
    public let packages: [PackageInfo]

    private static let format = 3
    private static let target = "coreml"

    /// - Parameter folder: a bundle, in an app or as it was exported
    /// - Throws: `NexusEdgeError.bundle` with the file and the key that is wrong
    public init(folder: URL) throws {
        let file = try Json.object(at: folder.appendingPathComponent("manifest.json"))
        let format = try file.integer("format_version")
        guard format == Self.format else {
            throw NexusEdgeError.bundle(
                "\(file.source) has format_version \(format), this package reads \(Self.format); export the bundle again")
        }
        self.folder = folder
        contextLength = try file.positive("context_length")
        facts = try RuntimeFacts(try file.part("facts"))
        logitScale = file.isAbsent("dual_encoder") ? nil : try file.object("dual_encoder").number("logit_scale")
        let graphs = try file.part("graphs").part(Self.target)
        let sizes = try file.part("files").parts().mapValues { try $0.integer("size") }
        packages = try PackageInfo.packages(try graphs.parts(), sizes: sizes)
        guard !packages.isEmpty else { throw file.wrong("graphs", "with graphs of \(Self.target)") }
        model = try ModelInfo(file, identity: try Self.identity(packages, file))
    }

    /// Packages that do one task, in running order: of those for several systems the newest that `ios` allows (macOS 14
    /// is 17 here, macOS 15 is 18); empty if there is none.
    public func packages(role: String, ios: Int) -> [PackageInfo] {
        let usable = packages.filter { $0.role == role && $0.ios <= ios }
        let newest = usable.map(\.ios).max()
        return usable.filter { $0.ios == newest }
    }

    private static func identity(_ packages: [PackageInfo], _ file: JsonObject) throws -> String {
        let found = Set(packages.map(\.identity))
        guard let identity = found.first, found.count == 1 else {
            throw file.wrong("graphs", "of one bundle: its packages have \(found.count) identities")
        }
        return identity
    }
}

/// Which model this is.
public struct ModelInfo: Sendable, Equatable {
    /// Family of the model, such as phi3_v.
    public let modelType: String
    /// Of the recipe it was exported with.
    public let name: String
    /// Hub id, a folder's last name, "tiny" or "synthetic".
    public let source: String
    /// Commit of a hub checkpoint.
    public let revision: String?
    /// real, trained-tiny or synthetic. Show it: results of the last two are not those of the real model.
    public let weights: String
    public let license: String?
    public let toolkitVersion: String
    /// Each package says it too; one with another belongs to another bundle.
    public let identity: String

    init(_ file: JsonObject, identity: String) throws {
        modelType = try file.text("model_type")
        name = try file.text("name")
        toolkitVersion = try file.text("toolkit_version")
        let source = try file.part("source"), checkpoint = try source.text("checkpoint")
        revision = try source.optionalText("revision")
        // Of a folder only its own name is anybody else's business.
        self.source = revision != nil ? checkpoint : checkpoint.split(separator: "/").last.map(String.init) ?? checkpoint
        weights = try source.text("weights")
        license = try source.optionalText("license")
        self.identity = identity
    }
}
