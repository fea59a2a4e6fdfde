/// Decodes ids as they come. All pieces together are exactly `decode` of all ids, however they are cut.
///
/// A piece never ends inside a character. A run of byte tokens is held until another token ends it: one bad byte makes
/// `decode` replace the whole run, so none of it is certain before. The last shown token goes in front of each decode,
/// because only the first token of a text loses its leading space.
public struct StreamDecoder: Sendable {
    private let tokenizer: Phi3Tokenizer
    private var before: [Int] = []
    private var pending: [Int] = []

    public init(_ tokenizer: Phi3Tokenizer) { self.tokenizer = tokenizer }

    /// The text that this id makes certain, often with that of ids before it; empty while it has to wait.
    public mutating func push(_ id: Int) -> String {
        if tokenizer.isSilent(id) { return "" }
        pending.append(id)
        if tokenizer.isByte(id) { return "" }
        let text = decodePending()
        (before, pending) = ([id], [])
        return text
    }

    /// The text that was held back, at the end of the ids; the decoder is then as new.
    public mutating func flush() -> String {
        let text = pending.isEmpty ? "" : decodePending()
        (before, pending) = ([], [])
        return text
    }

    private func decodePending() -> String {
        let shown = tokenizer.decode(before).unicodeScalars.count
        return String(tokenizer.decode(before + pending).unicodeScalars.dropFirst(shown))
    }
}
