import NexusEdgeCore

/// A decoder whose logits tell what is in its caches: a row is a number, and the state after a row depends on all rows
/// before it and on whether LongRoPE's long list was used.
final class FakeDecoder: DecoderBackend {
    struct Call: Equatable {
        let position, rows, length: Int
    }

    let hiddenSize = 1, contextLength: Int, pieceLength: Int
    let ropeLimit: Int?
    private(set) var calls: [Call] = []
    private(set) var embedded = 0
    /// The call with this number throws.
    var failing: Int?
    private var cache: [UInt16]

    struct Failure: Error {}

    init(context: Int = 64, piece: Int = 8, ropeLimit: Int? = nil) {
        (contextLength, pieceLength, self.ropeLimit) = (context, piece, ropeLimit)
        cache = Array(repeating: 0, count: context)
    }

    func embed(_ ids: [Int32]) -> [UInt16] {
        embedded += 1
        return ids.map { UInt16($0) }
    }

    func run(_ rows: [UInt16], position: Int, length: Int) throws -> [UInt16] {
        precondition((rows.count == 1 || rows.count == pieceLength) && position + rows.count <= contextLength)
        calls.append(Call(position: position, rows: rows.count, length: length))
        // A call that fails has written already.
        let long = ropeLimit.map { length > $0 } ?? false
        for (place, row) in rows.enumerated() { cache[position + place] = row &* 2 &+ (long ? 1 : 0) }
        if calls.count == failing { throw Failure() }
        return rows.indices.map { place in
            cache[...(position + place)].reduce(7) { $0 &* 31 &+ $1 }
        }
    }

    func logits(_ row: [UInt16]) -> [Float] { row.map(Float.init) }
}

/// A decoder that writes given tokens, whatever it reads.
final class ScriptedDecoder: DecoderBackend {
    let hiddenSize = 2, contextLength: Int, pieceLength = 64
    private let vocabulary: Int
    private var script: [Int]

    init(_ script: [Int], vocabulary: Int, context: Int = 4096) {
        (self.script, self.vocabulary, contextLength) = (script, vocabulary, context)
    }

    func embed(_ ids: [Int32]) -> [UInt16] { Array(repeating: 0, count: 2 * ids.count) }

    func run(_ rows: [UInt16], position: Int, length: Int) -> [UInt16] { rows }

    func logits(_ row: [UInt16]) -> [Float] {
        var logits = [Float](repeating: 0, count: vocabulary)
        logits[script.isEmpty ? 0 : script.removeFirst()] = 1
        return logits
    }
}

/// Features of zeros, and how many crops came in each call.
final class FakeVision: VisionBackend {
    let cropsPerCall = [1, 4]
    private(set) var calls: [Int] = []

    func encode(_ pixels: [Float], crops: Int) -> VisionFeatures {
        precondition(pixels.count == crops * 3 * 336 * 336)
        calls.append(crops)
        return VisionFeatures(
            rows: Array(repeating: 0, count: 2 * 144 * crops), separators: [0, 0, 0, 0])
    }
}

/// Towers that see an image's first pixel and a text's length.
final class FakeTowers: DualBackend {
    var textLengths = [8, 16]
    private(set) var widths: [Int] = []

    func encode(image: RgbImage) -> [Float] { image.pixels[0] > 127 ? [1, 0] : [0, 1] }

    func encode(ids: [Int32]) -> [Float] {
        widths.append(ids.count)
        return ids[1] == 5 ? [0.6, 0.8] : [0.8, 0.6]
    }
}
