/// Embeddings of images with their names, to be searched on the device.
public struct PictureIndex: Sendable, Equatable, Codable {
    public struct Hit: Sendable, Equatable {
        public let name: String
        /// Cosine of the two embeddings, -1 to 1.
        public let similarity: Float
    }

    public private(set) var names: [String] = []
    private var rows: [[Float]] = []

    public init() {}

    public var count: Int { names.count }

    /// - Parameter embedding: of length 1
    /// - Throws: `NexusEdgeError.input` if it has another number of values than those before it
    public mutating func add(_ name: String, _ embedding: [Float]) throws {
        if let first = rows.first, first.count != embedding.count {
            throw NexusEdgeError.input("\(name): \(embedding.count) values, the index has \(first.count) per image")
        }
        names.append(name)
        rows.append(embedding)
    }

    /// The most similar first; equals in the order in which they came.
    func nearest(_ query: [Float], top: Int) -> [Hit] {
        let hits = zip(names, rows).map { name, row in
            Hit(name: name, similarity: zip(row, query).reduce(0) { $0 + $1.0 * $1.1 })
        }
        let order = hits.indices.sorted {
            (hits[$1].similarity, $0) < (hits[$0].similarity, $1)
        }
        return order.prefix(top).map { hits[$0] }
    }
}
