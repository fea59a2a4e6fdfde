/// A prompt in typed segments: what the template adds is control, what people wrote is text, whatever it looks like.
public struct Prompt: Sendable, Equatable, CustomStringConvertible {
    public enum Segment: Sendable, Equatable {
        /// No token, tag or byte of it ever becomes control.
        case text(String)
        /// A control token of the chat template, by its content such as <|user|>.
        case control(String)
    }

    /// The segments between the images: one chunk more than images.
    public private(set) var chunks: [[Segment]] = [[]]
    /// The number (1, 2, ...) of the image after each chunk but the last.
    public private(set) var images: [Int] = []

    public init() {}

    public mutating func append(_ segment: Segment) { chunks[chunks.count - 1].append(segment) }

    /// The place of image `number`.
    public mutating func append(image number: Int) {
        images.append(number)
        chunks.append([])
    }

    /// What the authors' template writes, for reading. It no longer tells control tokens from text that looks like them.
    public var description: String {
        let texts = chunks.map { chunk in
            chunk.map { segment in
                switch segment {
                case .text(let text), .control(let text): text
                }
            }.joined()
        }
        return zip(images, texts.dropFirst()).reduce(texts[0]) { $0 + "<|image_\($1.0)|>" + $1.1 }
    }
}
