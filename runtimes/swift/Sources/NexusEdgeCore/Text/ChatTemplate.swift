/// One turn of a conversation. Pictures among the parts are numbered for you over the whole conversation.
public struct ChatMessage: Sendable, Equatable {
    public enum Role: String, Sendable, CaseIterable {
        case system, user, assistant
    }

    public enum Part: Sendable, Equatable {
        case text(String)
        /// The place of the next picture.
        case image
    }

    public let role: Role
    public let parts: [Part]

    public init(role: Role, parts: [Part]) { (self.role, self.parts) = (role, parts) }

    public init(role: Role, text: String) { self.init(role: role, parts: [.text(text)]) }

    /// A user's turn with its pictures in front.
    public init(user text: String, images: Int) {
        self.init(role: .user, parts: Array(repeating: .image, count: images) + [.text(text)])
    }
}

/// The fixed template of the Phi-3 models.
package enum ChatTemplate {
    /// The prompt of a conversation, without BOS: the tokenizer adds it. Throws `.prompt` for an empty conversation.
    package static func render(_ messages: [ChatMessage], addGenerationPrompt: Bool = true) throws -> Prompt {
        guard let last = messages.last else {
            throw NexusEdgeError.prompt("the conversation is empty; give at least one message")
        }
        var prompt = Prompt()
        func line(_ token: String) {
            prompt.append(.control(token))
            prompt.append(.text("\n"))
        }
        for message in messages {
            line(token(message.role))
            for part in message.parts {
                switch part {
                case .text(let words): prompt.append(.text(words))
                case .image:
                    prompt.append(image: prompt.images.count + 1)
                    prompt.append(.text("\n"))
                }
            }
            line("<|end|>")
        }
        if addGenerationPrompt, last.role != .assistant { line(token(.assistant)) }
        return prompt
    }

    /// Whether a text looks like a whole prompt of its own: it begins with a role's token, or tags images.
    package static func isWhole(_ text: String) -> Bool {
        let start = text.unicodeScalars.drop(while: \.properties.isWhitespace)
        let begins = ChatMessage.Role.allCases.contains { start.starts(with: token($0).unicodeScalars) }
        return begins || !ImageTags.split(text).numbers.isEmpty
    }

    private static func token(_ role: ChatMessage.Role) -> String { "<|\(role.rawValue)|>" }
}
