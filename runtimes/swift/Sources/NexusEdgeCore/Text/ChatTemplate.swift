import Foundation

/// One turn of a conversation. Images among the parts are numbered for you over the whole conversation.
public struct ChatMessage: Sendable, Equatable {
    public enum Role: String, Sendable, CaseIterable {
        case system, user, assistant
    }

    public enum Part: Sendable, Equatable {
        case text(String)
        /// The place of the next image.
        case image
    }

    public let role: Role
    public let parts: [Part]

    public init(role: Role, parts: [Part]) { (self.role, self.parts) = (role, parts) }

    public init(role: Role, text: String) { self.init(role: role, parts: [.text(text)]) }

    /// A user's turn with its images in front.
    public init(user text: String, images: Int) {
        self.init(role: .user, parts: Array(repeating: .image, count: images) + [.text(text)])
    }
}

/// A chat template as runtime facts tell it: each message in the frame of its role.
package struct ChatTemplate: Sendable {
    /// Of an image's positions in what stands for it.
    static let place = "{image}"

    private let turns: Turns
    /// The longest first, so that none is taken for the beginning of another.
    private let control: [String]

    /// - Parameter control: the tokens that a frame may hold
    package init(_ turns: Turns, control: [String]) {
        self.turns = turns
        self.control = control.sorted { ($1.count, $0) < ($0.count, $1) }
    }

    /// The prompt of a conversation, without BOS: the tokenizer adds it. Throws `.prompt` for an empty conversation, and
    /// for a role that the template does not have.
    package func render(_ messages: [ChatMessage], addGenerationPrompt: Bool = true) throws -> Prompt {
        guard let last = messages.last else {
            throw NexusEdgeError.prompt("the conversation is empty; give at least one message")
        }
        var prompt = Prompt()
        for message in messages {
            guard let frame = turns.frames[message.role] else {
                throw NexusEdgeError.prompt("the model's chat template has no role \(message.role.rawValue)")
            }
            append(frame.before, to: &prompt)
            var texts = 0
            for part in ordered(message.parts) {
                switch part {
                case .text(let words):
                    if texts > 0 { append(frame.between, to: &prompt) }
                    prompt.append(.text(words))
                    texts += 1
                case .image:
                    let around = turns.image.components(separatedBy: Self.place)
                    append(around[0], to: &prompt)
                    prompt.append(image: prompt.images.count + 1)
                    append(around[1], to: &prompt)
                }
            }
            append(frame.after, to: &prompt)
        }
        if addGenerationPrompt, last.role != .assistant { append(turns.reply, to: &prompt) }
        return prompt
    }

    /// Whether a text looks like a whole prompt of its own: it begins as a frame does, or tags images.
    package func isWhole(_ text: String) -> Bool {
        let start = text.unicodeScalars.drop(while: \.properties.isWhitespace)
        let begins = turns.frames.values.contains { frame in
            let opening = frame.before.trimmingCharacters(in: .whitespacesAndNewlines)
            return !opening.isEmpty && start.starts(with: opening.unicodeScalars)
        }
        return begins || !ImageTags.split(text).numbers.isEmpty
    }

    private func ordered(_ parts: [ChatMessage.Part]) -> [ChatMessage.Part] {
        turns.imagesFirst ? parts.filter { $0 == .image } + parts.filter { $0 != .image } : parts
    }

    /// A frame's control tokens as such, the rest as text.
    private func append(_ frame: String, to prompt: inout Prompt) {
        var rest = Substring(frame), words = ""
        while let first = rest.first {
            if let token = control.first(where: { rest.hasPrefix($0) }) {
                if !words.isEmpty { prompt.append(.text(words)) }
                prompt.append(.control(token))
                (words, rest) = ("", rest.dropFirst(token.count))
            } else {
                words.append(first)
                rest = rest.dropFirst()
            }
        }
        if !words.isEmpty { prompt.append(.text(words)) }
    }
}
