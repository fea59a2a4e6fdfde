import NexusEdgeCore
import Testing

/// What is reused of the caches, and that it changes nothing.
@Suite struct ContextTests {
    private func sequence(_ ids: [Int], _ pictures: [[UInt16]] = []) throws -> TokenSequence {
        try TokenSequence(
            ids: ids, pictures: pictures.map { (identity: [UInt8($0[0])], features: $0) }, hidden: 1)
    }

    /// Logits of a decoder that starts empty.
    private func fresh(_ tokens: TokenSequence, _ ropeLimit: Int? = nil) throws -> [Float] {
        try SequenceContext(FakeDecoder(ropeLimit: ropeLimit), ropeLimit: ropeLimit).load(tokens).logits
    }

    /// Widths of the calls, in caches of 64 tokens, from the first token to the one behind the last.
    static let plans: [[Int]: [Int]] = [
        [0, 16]: [8, 8], [0, 10]: [8, 8], [0, 9]: [8, 1], [5, 6]: [1], [3, 13]: [8, 8], [58, 62]: [1, 1, 1, 1],
        [50, 61]: [8, 1, 1, 1],
    ]

    @Test(arguments: plans) func piecesCoverTheSequenceAndStayInTheCaches(range: [Int], widths: [Int]) {
        let pieces = SequenceContext.pieces(from: range[0], to: range[1], piece: 8, context: 64)
        #expect(pieces.map(\.width) == widths)
        #expect(pieces.flatMap { Array($0.range) } == Array(range[0]..<range[1]))
    }

    @Test func aPromptIsComputedInPiecesAndThenTokenByToken() throws {
        let decoder = FakeDecoder(), context = SequenceContext(decoder, ropeLimit: nil)
        let ids = Array(100..<120)
        #expect(try context.load(try sequence(ids)).logits == fresh(try sequence(ids)))
        #expect(decoder.calls == [0, 8, 16].map { FakeDecoder.Call(position: $0, rows: 8, length: 20) })
        #expect(try context.append(7) == fresh(try sequence(ids + [7])))
        #expect(decoder.calls.last == .init(position: 20, rows: 1, length: 21))
    }

    @Test func whatIsSharedIsReused() throws {
        let decoder = FakeDecoder(), context = SequenceContext(decoder, ropeLimit: nil)
        _ = try context.load(try sequence(Array(1...20)))
        let other = try sequence(Array(1...12) + [99, 98])
        let (logits, reused) = try context.load(other)
        #expect(reused == 12)
        #expect(try logits == fresh(other))
        #expect(try context.load(other).reused == 13)  // the last one must run to give logits
        #expect(try context.load(try sequence([5])).reused == 0)
        #expect(try context.load(other).logits == fresh(other))
    }

    @Test func picturesAreReusedByWhatTheyShow() throws {
        let decoder = FakeDecoder(), context = SequenceContext(decoder, ropeLimit: nil)
        let ids: [Int] = [1, 2] + Array(repeating: -1, count: 10) + [3]
        let first = try sequence(ids, [Array(30..<40)]), second = try sequence(ids, [Array(50..<60)])
        #expect(try context.load(first).logits == fresh(first))
        #expect(try context.load(second).reused == 2)
        #expect(try context.load(second).logits == fresh(second))
        // Two pieces: the first has text, the second the last text token; of pieces in between none is embedded.
        let picture: [Int] = Array(repeating: -1, count: 24)
        let long = try sequence(picture + [3, 4], [Array(0..<24)])
        let before = decoder.embedded
        #expect(try context.load(long).logits == fresh(long))
        #expect(decoder.embedded == before + 1)
    }

    @Test func rowsAndPlacesMustFit() {
        #expect(throws: NexusEdgeError.self) { try sequence([1, -1, -1], [[5]]) }
        #expect(throws: NexusEdgeError.self) { try sequence([1, -1], []) }
    }

    @Test func aSequenceThatGrowsPastTheLimitIsComputedAnew() throws {
        let decoder = FakeDecoder(ropeLimit: 20), context = SequenceContext(decoder, ropeLimit: 20)
        let ids = Array(1...20)
        #expect(try context.load(try sequence(ids)).logits == fresh(try sequence(ids), 20))
        #expect(try context.append(21) == fresh(try sequence(ids + [21]), 20))
        #expect(decoder.calls[3...].map(\.position) == [0, 8, 16])
        #expect(try context.append(22) == fresh(try sequence(ids + [21, 22]), 20))
        #expect(decoder.calls.last?.position == 21)
        #expect(try context.load(try sequence(ids)).reused == 0)  // back to the short list
    }

    @Test func aCallThatFailsLosesWorkAndNothingElse() throws {
        let decoder = FakeDecoder(), context = SequenceContext(decoder, ropeLimit: nil)
        _ = try context.load(try sequence(Array(1...20)))
        let other = try sequence([1, 2, 3, 4] + Array(40...60))
        decoder.failing = decoder.calls.count + 2
        #expect(throws: FakeDecoder.Failure.self) { try context.load(other) }
        #expect(try context.load(other).reused == 12)  // the first piece behind the four shared tokens got in
        var longer = other
        longer.append(9)
        #expect(try context.append(9) == fresh(longer))
        let first = try sequence(Array(1...20))
        #expect(try context.load(first).logits == fresh(first))
    }
}
