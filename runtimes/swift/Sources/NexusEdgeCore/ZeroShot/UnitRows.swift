/// Embeddings of length 1.
enum UnitRows {
    /// float16 keeps 11 bits, so each number is off by 2^-12 of itself at most, and the length of a row by no more. Ten
    /// times that.
    static let tolerance: Float = 10 * 0x1p-12

    static func normalised(_ row: [Float]) -> [Float] {
        let length = dot(row, row).squareRoot()
        return row.map { $0 / length }
    }

    static func dot(_ a: [Float], _ b: [Float]) -> Float {
        zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// Whether a row is finite and of length 1.
    static func isUnit(_ row: [Float]) -> Bool { abs(dot(row, row).squareRoot() - 1) <= tolerance }
}
