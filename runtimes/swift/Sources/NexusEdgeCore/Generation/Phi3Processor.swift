import Foundation

/// What Phi-3-Vision's original processor does: pictures to crops, prompts to ids with the places of the pictures.
public struct Phi3Processor: Sendable {
    public let tokenizer: Phi3Tokenizer
    /// Tokens that end an answer.
    public let stopIds: [Int]
    /// Crops of a picture at most, without the global view.
    public let mostCrops: Int

    private let normalisation: Normalisation
    private static let stopTokens = ["<|end|>", "<|assistant|>", "<|endoftext|>", "</s>"]

    /// Reads the tokenizer and preprocessor_config.json of a bundle's `processor` folder; throws `.bundle`.
    public init(folder: URL) throws {
        tokenizer = try Phi3Tokenizer(folder: folder)
        for token in ["<|user|>", "<|assistant|>", "<|end|>"] where tokenizer.id(of: token) == nil {
            throw NexusEdgeError.bundle("\(folder.path): tokenizer.json has no \(token); it is no Phi-3 tokenizer")
        }
        stopIds = Self.stopTokens.compactMap(tokenizer.id(of:))
        let config = try Json.object(at: folder.appendingPathComponent("preprocessor_config.json"))
        mostCrops = try config.integer("num_crops")
        guard mostCrops >= 1 else { throw config.wrong("num_crops", "above 0") }
        let perCrop = HdGeometry.side * HdGeometry.side
        guard try config.isAbsent("num_img_tokens") || config.integer("num_img_tokens") == perCrop else {
            throw config.wrong("num_img_tokens", "\(perCrop)")
        }
        normalisation = try Normalisation(config, mean: "image_mean", deviation: "image_std")
    }

    /// A picture's views; throws `.image` if it is too narrow.
    public func picture(_ image: RgbImage) throws -> Phi3Picture {
        Phi3Picture(image, try geometry(image), normalisation)
    }

    /// How many positions of a prompt a picture takes; throws `.image` if it is too narrow.
    public func countTokens(_ image: RgbImage) throws -> Int { try geometry(image).tokens }

    /// Ids of a complete prompt, where picture N is `imageTokens[N - 1]` times the id -N; throws `.prompt` if tags and
    /// pictures do not fit together.
    public func ids(prompt: String, imageTokens: [Int]) throws -> [Int] {
        let (texts, numbers) = try ImageTags.split(prompt, images: imageTokens.count)
        // Each text by itself, an empty one too, starts with its own BOS as in the original.
        var ids = tokenizer.encode(texts[0])
        for (number, text) in zip(numbers, texts[1...]) {
            ids += Array(repeating: -number, count: imageTokens[number - 1]) + tokenizer.encode(text)
        }
        return ids
    }

    func geometry(_ image: RgbImage) throws -> HdGeometry {
        try HdGeometry(width: image.width, height: image.height, mostCrops: mostCrops)
    }
}
