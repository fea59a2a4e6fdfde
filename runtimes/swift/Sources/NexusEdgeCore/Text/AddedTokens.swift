/// The tokens of a tokenizer.json that are found in a text before anything else is done to it.
struct AddedTokens: Sendable {
    struct Token: Sendable {
        let id: Int
        let content: [Unicode.Scalar]
        /// Whether white space before and behind belongs to the token.
        let stripsLeft, stripsRight: Bool
        let special: Bool
    }

    /// A part of a text: text, or the id of an added token.
    enum Piece {
        case text(ArraySlice<Unicode.Scalar>)
        case token(Int)
    }

    let tokens: [Token]
    /// By first code point, the longest first.
    private let byFirst: [Unicode.Scalar: [Token]]

    /// Reads `added_tokens`; throws `.bundle`, also for the two flags of tokens that no model here sets.
    init(_ file: JsonObject) throws {
        tokens = try file.objects("added_tokens").map { object in
            for flag in ["single_word", "normalized"] where try object.bool(flag, false) {
                throw NexusEdgeError.bundle("\(file.source): an added token has \(flag), which is not known here")
            }
            return Token(
                id: try object.integer("id"),
                content: Array(try object.text("content").unicodeScalars),
                stripsLeft: try object.bool("lstrip", false),
                stripsRight: try object.bool("rstrip", false),
                special: try object.bool("special", false)
            )
        }
        byFirst = Self.grouped(tokens)
    }

    /// Special tokens that strip nothing.
    init(special: [(content: String, id: Int)]) {
        self.init(
            special.map { content, id in
                Token(
                    id: id, content: Array(content.unicodeScalars), stripsLeft: false, stripsRight: false,
                    special: true)
            })
    }

    private init(_ tokens: [Token]) { (self.tokens, byFirst) = (tokens, Self.grouped(tokens)) }

    /// Those that `isIncluded` keeps.
    func filter(_ isIncluded: (Token) -> Bool) -> AddedTokens { AddedTokens(tokens.filter(isIncluded)) }

    private static func grouped(_ tokens: [Token]) -> [Unicode.Scalar: [Token]] {
        Dictionary(grouping: tokens.filter { !$0.content.isEmpty }) { $0.content[0] }
            .mapValues { $0.sorted { $0.content.count > $1.content.count } }
    }

    /// Cuts a text at its added tokens: leftmost first, and the longest of those that begin at one place.
    func split(_ text: [Unicode.Scalar]) -> [Piece] {
        var pieces: [Piece] = []
        var done = 0, place = 0
        while place < text.count {
            guard let token = byFirst[text[place]]?.first(where: { text[place...].starts(with: $0.content) }) else {
                place += 1
                continue
            }
            var start = place, stop = place + token.content.count
            place = stop
            while token.stripsLeft, start > done, text[start - 1].properties.isWhitespace { start -= 1 }
            while token.stripsRight, stop < text.count, text[stop].properties.isWhitespace { stop += 1 }
            if done < start { pieces.append(.text(text[done..<start])) }
            pieces.append(.token(token.id))
            (done, place) = (stop, max(place, stop))
        }
        if done < text.count { pieces.append(.text(text[done...])) }
        return pieces
    }
}
