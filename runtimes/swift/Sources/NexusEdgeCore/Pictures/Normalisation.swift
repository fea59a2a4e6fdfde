/// Mean and deviation of red, green and blue in 0..1, which an encoder was trained with.
struct Normalisation: Sendable, Equatable {
    let mean, deviation: [Double]

    static let clip = Normalisation(
        mean: [0.48145466, 0.4578275, 0.40821073], deviation: [0.26862954, 0.26130258, 0.27577711])

    init(mean: [Double], deviation: [Double]) { (self.mean, self.deviation) = (mean, deviation) }

    /// Reads both from a settings file, by default CLIP's; throws `.bundle`.
    init(_ file: JsonObject, mean: String, deviation: String) throws {
        self.mean = try Self.three(file, mean) ?? Self.clip.mean
        self.deviation = try Self.three(file, deviation) ?? Self.clip.deviation
        guard self.deviation.allSatisfy({ $0 > 0 }) else { throw file.wrong(deviation, "above 0") }
    }

    private static func three(_ file: JsonObject, _ key: String) throws -> [Double]? {
        if file.isAbsent(key) { return nil }
        let numbers = try file.list(key).compactMap { if case .number(let number) = $0 { number } else { nil } }
        guard numbers.count == 3 else { throw file.wrong(key, "three numbers") }
        return numbers
    }

    /// What each of the 256 values of a channel becomes, in float32 throughout as in the originals.
    func table(_ channel: Int) -> [Float] {
        (0..<256).map { (Float($0) / 255 - Float(mean[channel])) / Float(deviation[channel]) }
    }
}
