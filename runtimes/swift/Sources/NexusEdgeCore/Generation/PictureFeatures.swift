/// Features of images that are kept, so that one is encoded once however many turns talk about it.
final class PictureFeatures {
    /// Images; one has 15 MB at most (2,509 rows of 3,072 float16).
    private static let kept = 8

    private let processor: Phi3Processor
    private let vision: any VisionBackend
    /// The one used last stands last.
    private var entries: [(identity: [UInt8], features: [UInt16])] = []

    init(_ processor: Phi3Processor, _ vision: any VisionBackend) {
        (self.processor, self.vision) = (processor, vision)
    }

    /// Identity and features [tokens, hidden] of an image; adds what was spent to `run`.
    func encode(
        _ image: RgbImage, hidden: Int, _ run: inout RunStats
    ) throws -> (identity: [UInt8], features: [UInt16]) {
        let identity = image.identity
        if let place = entries.firstIndex(where: { $0.identity == identity }) {
            entries.append(entries.remove(at: place))
        } else {
            let picture = try timed(&run.prepareSeconds) { try processor.picture(image) }
            let features = try timed(&run.visionSeconds) {
                let encoded = try vision.encode(picture)
                return try HdLayout.layOut(
                    features: encoded.rows, separators: encoded.separators, width: hidden, rows: picture.rows,
                    columns: picture.columns, globalFirst: processor.facts.globalFirst)
            }
            entries.append((identity, features))
            if entries.count > Self.kept { entries.removeFirst() }
        }
        return entries[entries.count - 1]
    }
}

/// Runs `work` and adds its seconds to `total`.
func timed<T>(_ total: inout Double, _ work: () throws -> T) rethrows -> T {
    let start = ContinuousClock.now
    defer {
        let spent = (ContinuousClock.now - start).components
        total += Double(spent.seconds) + Double(spent.attoseconds) * 1e-18
    }
    return try work()
}
