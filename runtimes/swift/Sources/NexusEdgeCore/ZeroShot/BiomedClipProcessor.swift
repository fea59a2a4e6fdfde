import Foundation

/// What open_clip's transform and tokenizer do for BiomedCLIP and models of its shape.
///
/// Pictures are RGB here. open_clip resizes those with an alpha channel or a palette before it converts them, so that a
/// picture with transparent parts can differ by a few grey levels.
public struct BiomedClipProcessor: Sendable {
    /// Pixels per side of what the image tower takes.
    public let imageSize: Int
    /// Ids of a text at most.
    public let contextLength: Int

    private let tokenizer: WordPieceTokenizer
    private let normalisation: Normalisation
    private let filter: ResizeFilter

    /// Reads config.json and the tokenizer of a bundle's `processor` folder; throws `.bundle`.
    public init(folder: URL) throws {
        let config = try Json.object(at: folder.appendingPathComponent("config.json"))
        let model = try config.object("model_cfg"), preprocess = try config.object("preprocess_cfg")
        let text = try model.object("text_cfg")
        // Where the file is silent, what open_clip takes.
        imageSize = try Self.size(try model.object("vision_cfg"), "image_size", 224)
        contextLength = try Self.size(text, "context_length", 77)
        for (section, key, only) in [
            (preprocess, "mode", "RGB"), (preprocess, "resize_mode", "shortest"),
            (try text.object("tokenizer_kwargs"), "clean", "whitespace"),
        ] where try (section.optionalText(key) ?? only) != only {
            throw section.wrong(key, only)
        }
        switch try preprocess.optionalText("interpolation") ?? "bicubic" {
        case "bicubic": filter = .bicubic
        case "bilinear": filter = .bilinear
        default: throw preprocess.wrong("interpolation", "bicubic or bilinear")
        }
        normalisation = try Normalisation(preprocess, mean: "mean", deviation: "std")
        tokenizer = try WordPieceTokenizer(folder: folder)
    }

    /// `imageSize` x `imageSize` pixels; throws `.image` if the picture is too narrow.
    public func cropped(_ image: RgbImage) throws -> RgbImage { try image.centreCrop(imageSize, filter) }

    /// [3, imageSize, imageSize], normalised; throws `.image` if the picture is too narrow.
    public func pixelValues(_ image: RgbImage) throws -> [Float] { try cropped(image).planes(normalisation) }

    /// Ids of a text between [CLS] and [SEP], cut to `contextLength` so that [SEP] still ends them, without padding.
    public func ids(_ text: String) -> [Int32] {
        let ids = tokenizer.encode(text)
        return ids.count <= contextLength ? ids : ids[..<(contextLength - 1)] + ids.suffix(1)
    }

    /// How many ids the whole text has.
    public func countTokens(_ text: String) -> Int { tokenizer.encode(text).count }

    /// A whole number above 2, or the same one twice (height and width).
    private static func size(_ section: JsonObject, _ key: String, _ fallback: Int) throws -> Int {
        if section.isAbsent(key) { return fallback }
        var value = try? section.integer(key)
        if value == nil, let sides = try? section.integers(key), sides.count == 2, sides[0] == sides[1] {
            value = sides[0]
        }
        guard let value, value > 2 else { throw section.wrong(key, "one whole number above 2") }
        return value
    }
}
