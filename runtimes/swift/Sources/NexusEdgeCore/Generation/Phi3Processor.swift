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
    ///
    /// - Parameter stopIds: tokens that end an answer besides those of every Phi-3, from metadata.json
    public init(folder: URL, stopIds: [Int] = []) throws {
        tokenizer = try Phi3Tokenizer(folder: folder, control: Self.stopTokens)
        for token in ["<|user|>", "<|assistant|>", "<|end|>"] where tokenizer.id(of: token) == nil {
            throw NexusEdgeError.bundle("\(folder.path): tokenizer.json has no \(token); it is no Phi-3 tokenizer")
        }
        self.stopIds = Self.stopTokens.compactMap(tokenizer.id(of:)) + stopIds
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

    /// Ids of a prompt, where picture N is `imageTokens[N - 1]` times the id -N; throws `.prompt` if places and pictures
    /// do not fit together.
    public func ids(prompt: Prompt, imageTokens: [Int]) throws -> [Int] {
        try ImageTags.check(prompt.images, images: imageTokens.count)
        return join(try prompt.chunks.map { try tokenizer.encode($0) }, prompt.images, imageTokens)
    }

    /// As above, of a whole prompt with control tokens and tags written out.
    public func ids(whole prompt: String, imageTokens: [Int]) throws -> [Int] {
        let (texts, numbers) = try ImageTags.split(prompt, images: imageTokens.count)
        return join(texts.map { tokenizer.encode($0) }, numbers, imageTokens)
    }

    /// Each chunk, an empty one too, started with its own BOS as in the original.
    private func join(_ chunks: [[Int]], _ numbers: [Int], _ imageTokens: [Int]) -> [Int] {
        zip(numbers, chunks.dropFirst()).reduce(chunks[0]) { ids, next in
            ids + Array(repeating: -next.0, count: imageTokens[next.0 - 1]) + next.1
        }
    }

    func geometry(_ image: RgbImage) throws -> HdGeometry {
        try HdGeometry(width: image.width, height: image.height, mostCrops: mostCrops)
    }
}
