import Foundation

/// What open_clip's transform and tokenizer do for BiomedCLIP and models of its shape.
///
/// Images are RGB here. open_clip resizes those with an alpha channel or a palette before it converts them, so that a
/// image with transparent parts can differ by a few grey levels.
public struct BiomedClipProcessor: Sendable {
    public let facts: DualEncoderFacts
    /// Ids of a text at most.
    public let contextLength: Int

    private let tokenizer: WordPieceTokenizer

    /// Reads the tokenizer of a bundle's `processor` folder; throws `.bundle`.
    public init(folder: URL, facts: DualEncoderFacts, contextLength: Int) throws {
        (self.facts, self.contextLength) = (facts, contextLength)
        tokenizer = try WordPieceTokenizer(folder: folder)
    }

    /// `facts.imageSize` x `facts.imageSize` pixels; throws `.image` if the image is too narrow.
    public func cropped(_ image: RgbImage) throws -> RgbImage { try image.centreCrop(facts.imageSize, facts.filter) }

    /// [3, facts.imageSize, facts.imageSize], normalised; throws `.image` if the image is too narrow.
    public func pixelValues(_ image: RgbImage) throws -> [Float] { try cropped(image).planes(facts.normalisation) }

    /// Ids of a text between [CLS] and [SEP], cut to `contextLength` so that [SEP] still ends them, without padding.
    public func ids(_ text: String) -> [Int32] {
        let ids = tokenizer.encode(text)
        return ids.count <= contextLength ? ids : ids[..<(contextLength - 1)] + ids.suffix(1)
    }

    /// How many ids the whole text has.
    public func countTokens(_ text: String) -> Int { tokenizer.encode(text).count }
}
