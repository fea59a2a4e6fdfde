/// Features of crops as an encoder gives them, numbers as bits of float16.
public struct VisionFeatures: Sendable {
    /// [crops * 144, hidden], crop by crop and row by row
    public var rows: [UInt16]
    /// [2, hidden]: what ends a row of features, and what stands between the crops and the global view
    public var separators: [UInt16]

    public init(rows: [UInt16], separators: [UInt16]) { (self.rows, self.separators) = (rows, separators) }
}

/// The vision encoder of a model.
public protocol VisionBackend: AnyObject {
    /// How many crops a call can take, such as 1 and 4.
    var cropsPerCall: [Int] { get }

    /// - Parameters:
    ///   - pixels: [crops, 3, 336, 336]
    ///   - crops: one of `cropsPerCall`
    func encode(_ pixels: [Float], crops: Int) throws -> VisionFeatures
}

/// The embedding, the decoder with its caches, and the head of a model. Numbers are bits of float16.
public protocol DecoderBackend: AnyObject {
    var hiddenSize: Int { get }
    /// Tokens of the caches.
    var contextLength: Int { get }
    /// Tokens of a call that computes a piece of a prompt.
    var pieceLength: Int { get }

    /// - Parameter ids: 1 or `pieceLength`, 0 where the row is not used
    /// - Returns: [ids, hidden]
    func embed(_ ids: [Int32]) throws -> [UInt16]

    /// Runs all layers and writes their caches behind the first `position` tokens.
    ///
    /// - Parameters:
    ///   - rows: [1, hidden] or [pieceLength, hidden]
    ///   - position: cached tokens that stay; position + rows <= contextLength
    ///   - length: tokens of the whole sequence, by which LongRoPE's factors are chosen
    /// - Returns: as `rows`
    func run(_ rows: [UInt16], position: Int, length: Int) throws -> [UInt16]

    /// - Parameter row: [hidden], what `run` gave for the last token
    /// - Returns: [vocab]
    func logits(_ row: [UInt16]) throws -> [Float]
}

extension VisionBackend {
    /// Features of all views of an image, in as few calls as the sizes allow.
    func encode(_ picture: Phi3Picture) throws -> VisionFeatures {
        let perView = picture.views.count / picture.viewCount
        var features = VisionFeatures(rows: [], separators: [])
        var done = 0
        for crops in try Self.calls(picture.viewCount, cropsPerCall) {
            let pixels = Array(picture.views[done * perView..<(done + crops) * perView])
            let part = try encode(pixels, crops: crops)
            features.rows += part.rows
            features.separators = part.separators
            done += crops
        }
        return features
    }

    /// Sizes of calls that are `views` together, the largest first.
    static func calls(_ views: Int, _ sizes: [Int]) throws -> [Int] {
        var calls: [Int] = [], left = views
        for size in sizes.sorted(by: >) where size > 0 {
            calls += Array(repeating: size, count: left / size)
            left %= size
        }
        guard left == 0 else {
            throw NexusEdgeError.bundle("the vision encoder takes \(sizes) crops, an image has \(views)")
        }
        return calls
    }
}
