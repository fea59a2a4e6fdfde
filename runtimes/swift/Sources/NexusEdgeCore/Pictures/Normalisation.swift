/// Mean and deviation of red, green and blue in 0..1, which an encoder was trained with.
struct Normalisation: Sendable, Equatable {
    let mean, deviation: [Double]

    init(mean: [Double], deviation: [Double]) { (self.mean, self.deviation) = (mean, deviation) }

    /// Reads `mean` and `std` of an image primitive; throws `.bundle`.
    init(_ images: JsonObject) throws {
        mean = try Self.three(images, "mean")
        deviation = try Self.three(images, "std")
        guard deviation.allSatisfy({ $0 > 0 }) else { throw images.wrong("std", "above 0") }
    }

    private static func three(_ file: JsonObject, _ key: String) throws -> [Double] {
        let numbers = try file.list(key).compactMap { if case .number(let number) = $0 { number } else { nil } }
        guard numbers.count == 3 else { throw file.wrong(key, "three numbers") }
        return numbers
    }

    /// What each of the 256 values of a channel becomes, in float32 throughout as in the originals.
    func table(_ channel: Int) -> [Float] {
        (0..<256).map { (Float($0) / 255 - Float(mean[channel])) / Float(deviation[channel]) }
    }
}
