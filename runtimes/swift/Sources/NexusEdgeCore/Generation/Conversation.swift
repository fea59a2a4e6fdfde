/// The turns of a conversation and the images of all of them.
///
/// Each prompt is the whole conversation, so that an answer does not depend on what the caches hold.
public struct Conversation: Sendable, Equatable {
    public private(set) var messages: [ChatMessage]
    public private(set) var images: [RgbImage] = []

    public init(system: String? = nil) {
        messages = system.map { [ChatMessage(role: .system, text: $0)] } ?? []
    }

    /// Adds a question with its images.
    public mutating func ask(_ text: String, images new: [RgbImage] = []) {
        messages.append(ChatMessage(user: text, images: new.count))
        images += new
    }

    /// Adds the answer to the newest question, as far as it came.
    public mutating func answered(_ text: String) {
        messages.append(ChatMessage(role: .assistant, text: text))
    }

    /// Removes the newest question, with its answer if it has one.
    public mutating func takeBack() {
        if messages.last?.role == .assistant { messages.removeLast() }
        guard let last = messages.last, last.role == .user else { return }
        messages.removeLast()
        images.removeLast(last.parts.count { $0 == .image })
    }
}
