/// Bicubic resize without antialiasing, as torch's `interpolate` computes it (align_corners False): each output is made
/// of its 4 x 4 nearest inputs, the edge ones repeated.
enum TorchBicubic {
    /// Keys' cubic convolution (1981) leaves one coefficient free; torch uses -0.75 where Pillow uses -0.5.
    private static let a = -0.75

    /// `plane` [height, width] as [size, size], written to `output`.
    static func resize(
        _ plane: UnsafeBufferPointer<Float>, height: Int, width: Int, size: Int,
        into output: UnsafeMutableBufferPointer<Float>
    ) {
        let columns = (0..<size).map { Tap($0, from: width, to: size) }
        let rows = (0..<size).map { Tap($0, from: height, to: size) }
        withUnsafeTemporaryAllocation(of: Float.self, capacity: height * size) { narrow in
            for y in 0..<height {
                let line = UnsafeBufferPointer(rebasing: plane[y * width..<(y + 1) * width])
                for (x, tap) in columns.enumerated() {
                    narrow[y * size + x] = tap.sum(line[tap.p0], line[tap.p1], line[tap.p2], line[tap.p3])
                }
            }
            for (y, tap) in rows.enumerated() {
                for x in 0..<size {
                    output[y * size + x] = tap.sum(
                        narrow[tap.p0 * size + x], narrow[tap.p1 * size + x],
                        narrow[tap.p2 * size + x], narrow[tap.p3 * size + x])
                }
            }
        }
    }

    /// The four inputs of an output position, with their weights.
    private struct Tap {
        let p0, p1, p2, p3: Int
        let w0, w1, w2, w3: Double

        init(_ position: Int, from: Int, to: Int) {
            let centre = (Double(position) + 0.5) * (Double(from) / Double(to)) - 0.5
            let base = centre.rounded(.down), fraction = centre - base
            let place = { (offset: Int) in min(max(Int(base) + offset, 0), from - 1) }
            (p0, p1, p2, p3) = (place(-1), place(0), place(1), place(2))
            (w0, w1) = (Self.outer(fraction + 1), Self.inner(fraction))
            (w2, w3) = (Self.inner(1 - fraction), Self.outer(2 - fraction))
        }

        /// Rounded where torch's kernel rounds: it starts from the second product and adds the others by fused
        /// multiply-add, one rounding to float32 per tap.
        func sum(_ v0: Float, _ v1: Float, _ v2: Float, _ v3: Float) -> Float {
            var total = Float(Double(v1) * w1)
            total = Float(Double(v0) * w0 + Double(total))
            total = Float(Double(v2) * w2 + Double(total))
            return Float(Double(v3) * w3 + Double(total))
        }

        /// The kernel for distances 0 to 1.
        private static func inner(_ x: Double) -> Double { ((a + 2) * x - (a + 3)) * x * x + 1 }

        /// The kernel for distances 1 to 2.
        private static func outer(_ x: Double) -> Double { ((a * x - 5 * a) * x + 8 * a) * x - 4 * a }
    }
}
