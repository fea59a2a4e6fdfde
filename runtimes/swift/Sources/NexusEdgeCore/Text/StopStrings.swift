/// Ends a stream of text at a stop string, of which no part is ever shown: pieces of text in, the pieces that are
/// certain not to begin a stop string out. Texts are compared code point by code point.
package struct StopStrings {
    private let stops: [[Unicode.Scalar]]
    private var held: [Unicode.Scalar] = []
    package private(set) var stopped = false

    /// Throws `.input` for an empty stop string.
    package init(_ stops: [String]) throws {
        guard !stops.contains("") else { throw NexusEdgeError.input("a stop string is empty; leave it out") }
        self.stops = stops.map { Array($0.unicodeScalars) }
    }

    /// The text that is certain now. Nothing may be pushed once a stop string came.
    package mutating func push(_ piece: String) -> String {
        let text = held + piece.unicodeScalars
        if let found = text.indices.first(where: { place in stops.contains { text[place...].starts(with: $0) } }) {
            (stopped, held) = (true, [])
            return string(text[..<found])
        }
        let begins = beginsStop(text)
        held = Array(text[begins...])
        return string(text[..<begins])
    }

    /// What was held back, at the end of the text.
    package mutating func flush() -> String {
        defer { held = [] }
        return string(held[...])
    }

    /// Where the earliest ending of `text` starts that could still become a stop string.
    private func beginsStop(_ text: [Unicode.Scalar]) -> Int {
        let longest = (stops.map(\.count).max() ?? 1) - 1
        return (max(text.count - longest, 0)..<text.count).first { place in
            stops.contains { $0.starts(with: text[place...]) }
        } ?? text.count
    }

    private func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}
