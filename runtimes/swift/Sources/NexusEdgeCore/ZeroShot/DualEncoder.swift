/// The towers of a model that compares images and texts.
public protocol DualBackend: AnyObject {
    /// Ids that the functions of the text tower take; empty without a text tower.
    var textLengths: [Int] { get }

    /// - Parameter image: already resized and cropped to the processor's size
    /// - Returns: [dim], of length 1
    func encode(image: RgbImage) throws -> [Float]

    /// - Parameter ids: filled up with 0 to one of `textLengths`
    /// - Returns: [dim], of length 1
    func encode(ids: [Int32]) throws -> [Float]
}

/// Images and texts in one space, where a cosine says how well they fit each other.
///
/// Not `Sendable`: keep it inside an actor.
public final class DualEncoder {
    public let processor: BiomedClipProcessor

    private let backend: any DualBackend
    private let logitScale: Double
    private let textTower: String?

    /// - Parameters:
    ///   - logitScale: factor of a cosine before the softmax, from the manifest
    ///   - textTower: SHA-256 of the text tower in the bundle's manifest, which banks from files are checked against;
    ///     nil checks the number of dimensions only
    public init(
        processor: BiomedClipProcessor, backend: any DualBackend, logitScale: Double, textTower: String? = nil
    ) {
        (self.processor, self.backend, self.logitScale) = (processor, backend, logitScale)
        self.textTower = textTower
    }

    /// [dim], of length 1.
    public func embed(_ image: RgbImage) throws -> [Float] {
        try checked(try backend.encode(image: try processor.cropped(image)))
    }

    /// [dim], of length 1. A text that is longer than the model reads is cut; `processor.countTokens` tells.
    public func embed(_ text: String) throws -> [Float] {
        let ids = processor.ids(text)
        guard let longest = backend.textLengths.max() else {
            throw NexusEdgeError.input("there is no text tower here; classify with a label bank")
        }
        guard let width = backend.textLengths.filter({ $0 >= ids.count }).min() else {
            throw NexusEdgeError.bundle("a text has \(ids.count) ids, the text tower takes \(longest)")
        }
        return try checked(
            try backend.encode(ids: ids + Array(repeating: WordPieceTokenizer.padId, count: width - ids.count)))
    }

    /// Embeds every label in every template, to be kept and used for many images.
    public func labelBank(_ prompts: PromptSet) throws -> LabelBank {
        try LabelBank(prompts: prompts, embeddings: try prompts.ensemble(try prompts.prompts.map { try embed($0) }))
    }

    /// How probable each label is for an image; throws `.input` if the bank is of another model.
    public func classify(_ image: RgbImage, _ bank: LabelBank) throws -> Classification {
        if let made = bank.textTower, let textTower, made != textTower {
            throw NexusEdgeError.input(
                "the label bank was made by another text tower (of \(bank.model)); make it again with nexus-edge bank")
        }
        let embedding = try embed(image)
        guard bank.embeddings[0].count == embedding.count else {
            throw NexusEdgeError.input(
                "the label bank holds \(bank.embeddings[0].count) numbers a label, the model \(embedding.count); "
                    + "make it again with nexus-edge bank")
        }
        return Classification(
            labels: bank.labels, similarities: bank.embeddings.map { UnitRows.dot($0, embedding) },
            logitScale: logitScale)
    }

    private func checked(_ embedding: [Float]) throws -> [Float] {
        guard embedding.allSatisfy(\.isFinite) else {
            throw NexusEdgeError.bundle("a tower computes no numbers (NaN); export the bundle again")
        }
        return embedding
    }
}
