/// The generator behind numpy's `default_rng(seed)`, so that a seed draws the same here as in the Python runtime.
///
/// PCG64 with XSL-RR output (O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for
/// Random Number Generation", 2014), seeded by numpy's `SeedSequence`.
package struct NumpyRandom: Sendable {
    private struct Wide {
        var high, low: UInt64

        static func + (a: Wide, b: Wide) -> Wide {
            let (low, carry) = a.low.addingReportingOverflow(b.low)
            return Wide(high: a.high &+ b.high &+ (carry ? 1 : 0), low: low)
        }

        static func * (a: Wide, b: Wide) -> Wide {
            let (high, low) = a.low.multipliedFullWidth(by: b.low)
            return Wide(high: high &+ a.high &* b.low &+ a.low &* b.high, low: low)
        }
    }

    private static let multiplier = Wide(high: 2_549_297_995_355_413_924, low: 4_865_540_595_714_422_341)

    private var state: Wide
    private let increment: Wide

    package init(seed: UInt64) {
        let words = SeedSequence(seed).words(8)
        let long = (0..<4).map { UInt64(words[2 * $0]) | UInt64(words[2 * $0 + 1]) << 32 }
        increment = Wide(high: long[2] << 1 | long[3] >> 63, low: long[3] << 1 | 1)
        state = increment + Wide(high: long[0], low: long[1])
        step()
    }

    /// A number of [0, 1), of 53 bits.
    package mutating func next() -> Double {
        step()
        let mixed = state.high ^ state.low, turn = state.high >> 58
        let output = mixed >> turn | mixed << ((64 - turn) & 63)
        return Double(output >> 11) * 0x1p-53
    }

    private mutating func step() { state = state * Self.multiplier + increment }
}

/// numpy's `SeedSequence` of a whole number: four words of well mixed entropy.
private struct SeedSequence {
    private var pool = [UInt32](repeating: 0, count: 4)
    private var constant: UInt32 = 0x43B0_D7E5

    init(_ seed: UInt64) {
        let entropy = [UInt32(truncatingIfNeeded: seed), UInt32(seed >> 32), 0, 0]
        for place in pool.indices { pool[place] = hashed(entropy[place]) }
        for from in pool.indices {
            for to in pool.indices where to != from { pool[to] = Self.mixed(pool[to], hashed(pool[from])) }
        }
    }

    func words(_ count: Int) -> [UInt32] {
        var constant: UInt32 = 0x8B51_F9DD
        return (0..<count).map { place in
            var word = pool[place % pool.count] ^ constant
            constant = constant &* 0x58F3_8DED
            word = word &* constant
            return word ^ word >> 16
        }
    }

    private mutating func hashed(_ value: UInt32) -> UInt32 {
        let word = value ^ constant
        constant = constant &* 0x931E_8875
        let product = word &* constant
        return product ^ product >> 16
    }

    private static func mixed(_ x: UInt32, _ y: UInt32) -> UInt32 {
        let word = 0xCA01_F9DD &* x &- 0x4973_F715 &* y
        return word ^ word >> 16
    }
}
