import Foundation

/// What Phi-3-Vision's original processor does: images to crops, prompts to ids with the places of the pictures.
public struct Phi3Processor: Sendable {
    public let tokenizer: Phi3Tokenizer
    public let facts: VlmFacts

    package let chat: ChatTemplate

    /// Reads the tokenizer of a bundle's `processor` folder; throws `.bundle`.
    public init(folder: URL, facts: VlmFacts) throws {
        tokenizer = try Phi3Tokenizer(folder: folder, control: facts.control)
        for token in facts.control where tokenizer.id(of: token) == nil {
            throw NexusEdgeError.bundle(
                "\(folder.path): tokenizer.json has no \(token), of which the manifest tells; copy the whole bundle")
        }
        self.facts = facts
        chat = ChatTemplate(facts.turns, control: facts.control)
    }

    /// An image's views; throws `.image` if it is too narrow.
    public func picture(_ image: RgbImage) throws -> Phi3Picture {
        Phi3Picture(image, try geometry(image), facts.normalisation)
    }

    /// How many positions of a prompt an image takes; throws `.image` if it is too narrow.
    public func countTokens(_ image: RgbImage) throws -> Int { try geometry(image).tokens }

    /// Ids of a prompt, where image N is `imageTokens[N - 1]` times the id -N; throws `.prompt` if places and images
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
        try HdGeometry(width: image.width, height: image.height, mostCrops: facts.mostCrops)
    }
}
