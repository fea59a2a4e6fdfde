import Foundation

/// metadata.json of a bundle's `coreml` folder, format 2; keys that are not known here are ignored.
public struct CoreMLMetadata: Sendable, Equatable {
    /// The folder that packages and files are relative to.
    public let folder: URL
    public let model: ModelInfo
    /// Of a model that writes; nil for others.
    public let generation: GenerationInfo?
    /// Of a model that compares pictures and texts; nil for others.
    public let zeroShot: ZeroShotInfo?
    /// In the order in which data goes through them.
    public let packages: [PackageInfo]

    private static let format = 2

    /// - Parameter folder: a bundle's `coreml`, in an app or in the bundle
    /// - Throws: `NexusEdgeError.bundle` with the file and the key that is wrong
    public init(folder: URL) throws {
        let file = try Json.object(at: folder.appendingPathComponent("metadata.json"))
        let format = try file.integer("format")
        guard format == Self.format else {
            throw NexusEdgeError.bundle(
                "\(file.source) has format \(format), this package reads \(Self.format); export the bundle again")
        }
        self.folder = folder
        guard !file.isAbsent("model") else { throw file.wrong("model", "an object") }
        model = try ModelInfo(try file.object("model"))
        generation = file.isAbsent("generation") ? nil : try GenerationInfo(try file.object("generation"))
        zeroShot = file.isAbsent("zero_shot") ? nil : try ZeroShotInfo(try file.object("zero_shot"))
        packages = try file.objects("packages").map(PackageInfo.init)
        guard !packages.isEmpty, Set(packages.map(\.file)).count == packages.count else {
            throw file.wrong("packages", "a list of different packages")
        }
    }

    /// Packages that do one task, in running order: of those for several systems the newest that `ios` allows (macOS 14
    /// is 17 here, macOS 15 is 18); empty if there is none.
    public func packages(role: String, ios: Int) -> [PackageInfo] {
        let usable = packages.filter { $0.role == role && $0.ios <= ios }
        let newest = usable.map(\.ios).max()
        return usable.filter { $0.ios == newest }
    }
}

/// Which model this is.
public struct ModelInfo: Sendable, Equatable {
    /// phi3_v or biomedclip
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
    public let manifestSha256: String

    init(_ object: JsonObject) throws {
        modelType = try object.text("model_type")
        name = try object.text("name")
        source = try object.text("source")
        revision = try object.optionalText("revision")
        weights = try object.text("weights")
        license = try object.optionalText("license")
        toolkitVersion = try object.text("toolkit_version")
        manifestSha256 = try object.text("manifest_sha256")
    }
}

/// Of a model that writes.
public struct GenerationInfo: Sendable, Equatable {
    public let hiddenSize, vocabSize: Int
    /// Tokens of the caches: prompt and answer together.
    public let context: Int
    /// Tokens of a call that computes a piece of a prompt.
    public let promptTokens: Int
    /// Up to so many tokens LongRoPE's short list serves; nil for a model without LongRoPE.
    public let ropeLimit: Int?
    /// Crops that a call of the vision encoder can take.
    public let cropsPerCall: [Int]
    /// All caches together, in bytes.
    public let cacheBytes: Int
    /// Tokens that end an answer.
    public let stopIds: [Int]

    init(_ object: JsonObject) throws {
        hiddenSize = try object.positive("hidden_size")
        vocabSize = try object.positive("vocab_size")
        context = try object.positive("context")
        promptTokens = try object.positive("prompt_tokens")
        ropeLimit = object.isAbsent("rope_limit") ? nil : try object.positive("rope_limit")
        cropsPerCall = try object.integers("crops_per_call")
        cacheBytes = try object.positive("cache_bytes")
        stopIds = try object.integers("stop_ids")
    }
}

/// Of a model that compares pictures and texts.
public struct ZeroShotInfo: Sendable, Equatable {
    /// Numbers of an embedding.
    public let embedDim: Int
    /// Ids of a text at most.
    public let context: Int
    /// Ids that a function of the text tower takes, ascending.
    public let textLengths: [Int]
    /// Factor of a cosine before the softmax.
    public let logitScale: Double
    /// Default sentences, {} in the place of a label.
    public let templates: [String]

    init(_ object: JsonObject) throws {
        embedDim = try object.positive("embed_dim")
        context = try object.positive("context")
        textLengths = try object.integers("text_lengths")
        logitScale = try object.number("logit_scale")
        templates = try object.texts("templates")
    }
}
