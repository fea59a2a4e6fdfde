/// A sequence for the decoder: text tokens, and rows of features where an image is.
package struct TokenSequence: Sendable {
    /// What shows the decoder the same thing: a text token by its id, an image's row by the image.
    package enum Key: Equatable, Sendable {
        case text(Int)
        case picture([UInt8])
    }

    package private(set) var keys: [Key]
    /// For each token the row of `features` in its place, or nil for a text token.
    package private(set) var featureRows: [Int?]
    /// [rows, hidden], bits of float16
    package let features: [UInt16]

    static let empty = TokenSequence(keys: [], featureRows: [], features: [])

    private init(keys: [Key], featureRows: [Int?], features: [UInt16]) {
        (self.keys, self.featureRows, self.features) = (keys, featureRows, features)
    }

    /// - Parameters:
    ///   - ids: of a prompt, -N in each place of image N
    ///   - pictures: identity and features [tokens, hidden] of each
    ///   - hidden: numbers of a row
    /// - Throws: `.prompt` if the ids leave room for another number of rows than the images have
    package init(ids: [Int], pictures: [(identity: [UInt8], features: [UInt16])], hidden: Int) throws {
        let places = ids.count { $0 < 0 }, rows = pictures.reduce(0) { $0 + $1.features.count } / hidden
        guard places == rows else {
            throw NexusEdgeError.prompt(
                "the prompt has \(places) positions for image tokens, its images give \(rows); "
                    + "use each <|image_N|> tag once")
        }
        var first: [Int] = [], total = 0
        for picture in pictures {
            first.append(total)
            total += picture.features.count / hidden
        }
        var next = first
        var featureRows: [Int?] = [], keys: [Key] = []
        for id in ids {
            guard id < 0 else {
                featureRows.append(nil)
                keys.append(.text(id))
                continue
            }
            featureRows.append(next[-id - 1])
            keys.append(.picture(pictures[-id - 1].identity))
            next[-id - 1] += 1
        }
        self.init(keys: keys, featureRows: featureRows, features: pictures.flatMap(\.features))
    }

    package var count: Int { keys.count }

    package mutating func append(_ id: Int) {
        keys.append(.text(id))
        featureRows.append(nil)
    }

    /// Ids of a stretch as an embedding takes them, 0 for rows of images, filled up with 0.
    func ids(_ range: Range<Int>, width: Int) -> [Int32] {
        let ids = keys[range].map { key in if case .text(let id) = key { Int32(id) } else { Int32(0) } }
        return ids + Array(repeating: 0, count: width - ids.count)
    }

    /// How many tokens two sequences have in common from the start.
    func commonPrefix(_ other: TokenSequence) -> Int {
        zip(keys, other.keys).prefix { $0 == $1 }.count
    }
}
