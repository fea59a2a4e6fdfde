/// How Pillow weighs the pixels around a position; the original processors resize with it.
package enum ResizeFilter {
    case bilinear
    case bicubic

    /// Reach to either side, in input pixels when enlarging and in output pixels when shrinking.
    var support: Double { self == .bilinear ? 1 : 2 }

    /// Weight at a distance.
    func weight(_ distance: Double) -> Double {
        let x = abs(distance)
        switch self {
        case .bilinear: return x < 1 ? 1 - x : 0
        case .bicubic:  // Keys' cubic convolution (1981) with a = -0.5
            let a = -0.5
            if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
            if x < 2 { return (((x - 5) * x + 8) * x - 4) * a }
            return 0
        }
    }

    /// What each of `to` output pixels takes of `from` input pixels.
    func taps(from: Int, to: Int) -> Taps {
        let scale = Double(from) / Double(to), stretch = max(scale, 1)
        let reach = support * stretch
        let widest = Int(reach.rounded(.up)) * 2 + 1
        var taps = Taps(widest: widest, starts: [], counts: [], weights: [Int32](repeating: 0, count: to * widest))
        for output in 0..<to {
            let centre = (Double(output) + 0.5) * scale
            let start = max(Int(centre - reach + 0.5), 0)
            let count = min(Int(centre + reach + 0.5), from) - start
            let weights = (0..<count).map { weight((Double($0 + start) - centre + 0.5) * (1 / stretch)) }
            let total = weights.reduce(0, +)
            for (place, weight) in weights.enumerated() {
                let scaled = (total == 0 ? weight : weight / total) * Double(1 << Taps.fraction)
                taps.weights[output * widest + place] = Int32(scaled < 0 ? scaled - 0.5 : scaled + 0.5)
            }
            taps.starts.append(start)
            taps.counts.append(count)
        }
        return taps
    }
}

/// Weights of a resize in fixed point, `widest` places for each output pixel.
struct Taps {
    /// Bits behind the point: 32, less 8 of a pixel and 2 for sums beyond 255 and below 0.
    static let fraction = 22

    let widest: Int
    var starts, counts: [Int]
    var weights: [Int32]
}

extension RgbImage {
    /// To the last bit what Pillow's `resize` gives: antialiased, the rows first, then the columns, 8 bits in between.
    package func resized(width newWidth: Int, height newHeight: Int, _ filter: ResizeFilter) -> RgbImage {
        var result = self
        if newWidth != width {
            let taps = filter.taps(from: width, to: newWidth)
            let pixels = result.weighed(taps, lines: height, outputs: newWidth, line: 3 * width, step: 3, width: 1)
            result = RgbImage(unchecked: pixels, width: newWidth, height: height)
        }
        if newHeight != height {
            let taps = filter.taps(from: height, to: newHeight)
            let row = 3 * newWidth
            let pixels = result.weighed(taps, lines: 1, outputs: newHeight, line: 0, step: row, width: newWidth)
            result = RgbImage(unchecked: pixels, width: newWidth, height: newHeight)
        }
        return result
    }

    /// One pass: each output is a stretch of `width` pixels, summed over inputs that lie `step` bytes apart.
    private func weighed(
        _ taps: Taps, lines: Int, outputs: Int, line: Int, step: Int, width: Int
    ) -> [UInt8] {
        let stretch = 3 * width, total = lines * outputs * stretch
        return [UInt8](unsafeUninitializedCapacity: total) { output, written in
            pixels.withUnsafeBufferPointer { input in
                taps.weights.withUnsafeBufferPointer { weights in
                    withUnsafeTemporaryAllocation(of: Int32.self, capacity: stretch) { sums in
                        var to = 0
                        for number in 0..<lines {
                            for place in 0..<outputs {
                                sums.initialize(repeating: 1 << Int32(Taps.fraction - 1))
                                var from = number * line + taps.starts[place] * step
                                for tap in 0..<taps.counts[place] {
                                    let weight = weights[place * taps.widest + tap]
                                    for byte in 0..<stretch { sums[byte] &+= Int32(input[from + byte]) &* weight }
                                    from += step
                                }
                                for byte in 0..<stretch {
                                    output[to + byte] = UInt8(min(max(sums[byte] >> Int32(Taps.fraction), 0), 255))
                                }
                                to += stretch
                            }
                        }
                    }
                }
            }
            written = total
        }
    }
}
