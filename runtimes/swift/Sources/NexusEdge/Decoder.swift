#if canImport(CoreML)
import CoreML
import Foundation

/// Embedding, chunks of layers with their caches, and head. Rows are float16 bits and go from chunk to chunk as Core ML
/// made them.
@available(iOS 18, macOS 15, *)
final class Decoder: DecoderBackend {
    /// Neighbouring layers. Both functions share the state: others' apps run packages of two functions in that way,
    /// with the state made by one of them.
    struct Chunk {
        let decode, prefill: PackageModel
        let state: MLState
    }

    let hiddenSize, contextLength, pieceLength: Int
    private let embedders: [Int: PackageModel]
    private let chunks: [Chunk]
    private let head: PackageModel
    private let willRun: () -> Void

    /// - Parameters:
    ///   - embedders: functions of the embedding
    ///   - chunks: functions decode and prefill of each chunk, in running order
    ///   - willRun: called before the prompt's first tokens are looked up, when all images are encoded
    init(
        embedders: [PackageModel], chunks: [(decode: PackageModel, prefill: PackageModel)], head: PackageModel,
        willRun: @escaping () -> Void
    ) throws {
        guard let first = chunks.first, let cache = first.decode.function.states.first, cache.shape.count == 4 else {
            throw NexusEdgeError.bundle("the decoder's packages have no caches; export the bundle again")
        }
        let rows = try first.prefill.function.input(Inputs.hidden).shape
        (pieceLength, hiddenSize, contextLength) = (rows[1], rows[2], cache.shape[2])
        self.embedders = try Dictionary(
            uniqueKeysWithValues: embedders.map { (try $0.function.input(Inputs.ids).count, $0) })
        self.chunks = chunks.map { Chunk(decode: $0.decode, prefill: $0.prefill, state: $0.prefill.makeState()) }
        (self.head, self.willRun) = (head, willRun)
    }

    func embed(_ ids: [Int32]) throws -> [UInt16] {
        willRun()
        guard let model = embedders[ids.count] else {
            throw NexusEdgeError.input("no function of the embedding takes \(ids.count) ids, but \(embedders.keys.sorted())")
        }
        return try MLMultiArray.lending(ids, shape: [1, ids.count]) { array in
            let outputs = try model.run([Inputs.ids: MLFeatureValue(multiArray: array)])
            return try model.numbers(Outputs.embeddings, in: outputs)
        }
    }

    func run(_ rows: [UInt16], position: Int, length: Int) throws -> [UInt16] {
        let count = rows.count / hiddenSize
        guard count == 1 || count == pieceLength, position + count <= contextLength else {
            throw NexusEdgeError.input("\(count) rows at position \(position) do not fit the caches of \(contextLength)")
        }
        return try Self.lending(position, length) { position, length in
            try MLMultiArray.lending(rows, shape: [1, count, hiddenSize]) { array in
                var hidden = array
                for chunk in chunks {
                    let model = count == 1 ? chunk.decode : chunk.prefill
                    let inputs = [Inputs.hidden: hidden, Inputs.position: position, Inputs.length: length]
                    let outputs = try model.run(inputs.mapValues(MLFeatureValue.init(multiArray:)), state: chunk.state)
                    hidden = try model.array(Outputs.hidden, in: outputs)
                }
                guard let result: [UInt16] = hidden.numbers() else {
                    throw NexusEdgeError.bundle("the decoder gives numbers of type \(hidden.dataType), not float16")
                }
                return result
            }
        }
    }

    func logits(_ row: [UInt16]) throws -> [Float] {
        try MLMultiArray.lending(row, shape: [1, 1, hiddenSize]) { array in
            let outputs = try head.run([Inputs.hidden: MLFeatureValue(multiArray: array)])
            return Half.floats(try head.numbers(Outputs.logits, in: outputs))
        }
    }

    private static func lending<Result>(
        _ position: Int, _ length: Int, _ body: (MLMultiArray, MLMultiArray) throws -> Result
    ) throws -> Result {
        try MLMultiArray.lending([Int32(position)], shape: [1]) { position in
            try MLMultiArray.lending([Int32(length)], shape: [1]) { length in try body(position, length) }
        }
    }
}
#endif
