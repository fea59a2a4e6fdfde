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
    /// The prompt text of a conversation, without BOS: the tokenizer adds it.
    ///
    /// Throws `.prompt` for an empty conversation, or pictures mixed with hand-written tags.
    package static func render(_ messages: [ChatMessage], addGenerationPrompt: Bool = true) throws -> String {
        guard let last = messages.last else {
            throw NexusEdgeError.prompt("the conversation is empty; give at least one message")
        }
        var numbered = 0
        var text = ""
        for message in messages {
            text += "<|\(message.role.rawValue)|>\n"
            for part in message.parts {
                switch part {
                case .text(let words): text += words
                case .image:
                    numbered += 1
                    text += "<|image_\(numbered)|>\n"
                }
            }
            text += "<|end|>\n"
        }
        guard numbered == 0 || ImageTags.split(text).numbers.count == numbered else {
            throw NexusEdgeError.prompt(
                "the conversation mixes image parts with written <|image_N|> tags; use only one of the two")
        }
        return addGenerationPrompt && last.role != .assistant ? text + "<|assistant|>\n" : text
    }

    /// A question in the template, with the pictures in front unless it tags their places itself; a text that holds a
    /// role's token is taken as it is.
    package static func wrap(_ prompt: String, images: Int) throws -> String {
        let scalars = Array(prompt.unicodeScalars)
        let complete = ChatMessage.Role.allCases.contains { role in
            let token = Array("<|\(role.rawValue)|>".unicodeScalars)
            return scalars.indices.contains { scalars[$0...].starts(with: token) }
        }
        if complete { return prompt }
        let tagged = !ImageTags.split(prompt).numbers.isEmpty
        return try render([ChatMessage(user: prompt, images: tagged ? 0 : images)])
    }
}
