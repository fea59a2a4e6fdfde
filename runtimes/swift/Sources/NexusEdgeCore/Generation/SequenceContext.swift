/// What the decoder's caches hold, and how a sequence gets in there with the least work.
///
/// Two things decide what may be reused. Tokens must be the same from the start, and keys must have been rotated with
/// the same list of LongRoPE factors: one serves whole sequences up to a limit, another those beyond (LongRoPE,
/// arXiv 2402.13753). Every state between two calls of the decoder is consistent: one that throws loses work, no more.
package final class SequenceContext {
    /// A call of the decoder: `range` of the sequence in `width` rows, of which those behind the range are padding.
    package struct Piece: Equatable {
        package let range: Range<Int>
        package let width: Int
    }

    private let decoder: any DecoderBackend
    private let ropeLimit: Int?
    /// The first `length` of `tokens` are in the caches.
    private var tokens = TokenSequence.empty
    private var length = 0
    private var isLong = false

    /// - Parameter ropeLimit: the longest sequence for the short list; nil for a model without LongRoPE
    package init(_ decoder: any DecoderBackend, ropeLimit: Int?) {
        (self.decoder, self.ropeLimit) = (decoder, ropeLimit)
    }

    /// Makes the caches hold a sequence: logits [vocab] after its last token, and how many tokens were reused.
    package func load(_ wanted: TokenSequence) throws -> (logits: [Float], reused: Int) {
        let common = isLong(wanted.count) == isLong ? min(tokens.commonPrefix(wanted), length) : 0
        let reused = min(common, wanted.count - 1)  // the last one must run to give logits
        return (try run(wanted, from: reused), reused)
    }

    /// Adds one text token: logits [vocab] after it. A sequence that grows past the limit is computed anew.
    package func append(_ id: Int) throws -> [Float] {
        var longer = tokens
        longer.append(id)
        return try run(longer, from: isLong(longer.count) == isLong ? length : 0)
    }

    /// The calls that compute tokens `start` to `end`: whole pieces, a last one that is padded, and single tokens where
    /// one is left or padding would not fit into the caches.
    package static func pieces(from start: Int, to end: Int, piece: Int, context: Int) -> [Piece] {
        var pieces: [Piece] = [], place = start
        while place < end {
            let width = end - place > 1 && place + piece <= context ? piece : 1
            pieces.append(Piece(range: place..<min(place + width, end), width: width))
            place += width
        }
        return pieces
    }

    private func run(_ wanted: TokenSequence, from start: Int) throws -> [Float] {
        (tokens, length, isLong) = (wanted, start, isLong(wanted.count))
        let hidden = decoder.hiddenSize
        var last: [UInt16] = []
        for piece in Self.pieces(
            from: start, to: wanted.count, piece: decoder.pieceLength, context: decoder.contextLength)
        {
            let rows = try decoder.run(
                try self.rows(piece), position: piece.range.lowerBound, length: wanted.count)
            guard rows.count == piece.width * hidden else {
                throw NexusEdgeError.bundle(
                    "the decoder gives \(rows.count) numbers for \(piece.width) rows of \(hidden)")
            }
            length = piece.range.upperBound
            last = Array(rows[(piece.range.count - 1) * hidden..<piece.range.count * hidden])
        }
        return try decoder.logits(last)
    }

    /// What the decoder reads: embeddings, and rows of images in their places.
    private func rows(_ piece: Piece) throws -> [UInt16] {
        let hidden = decoder.hiddenSize, places = tokens.featureRows[piece.range]
        // Images are long: most pieces of one hold no text, and need no embeddings.
        var rows = places.allSatisfy { $0 != nil }
            ? [UInt16](repeating: 0, count: piece.width * hidden)
            : try decoder.embed(tokens.ids(piece.range, width: piece.width))
        guard rows.count == piece.width * hidden else {
            throw NexusEdgeError.bundle(
                "the embedding gives \(rows.count) numbers for \(piece.width) rows of \(hidden)")
        }
        for (place, row) in places.enumerated() {
            guard let row else { continue }
            rows.replaceSubrange(
                place * hidden..<(place + 1) * hidden, with: tokens.features[row * hidden..<(row + 1) * hidden])
        }
        return rows
    }

    private func isLong(_ count: Int) -> Bool { ropeLimit.map { count > $0 } ?? false }
}
