/// IEEE 754 half precision as bits. `Float16` is missing from Swift on x86 Macs, so numbers travel as `UInt16`.
public enum Half {
    /// The number that 16 bits stand for; exact.
    public static func float(_ bits: UInt16) -> Float {
        let sign = UInt32(bits & 0x8000) << 16
        let exponent = UInt32(bits >> 10 & 0x1F), fraction = UInt32(bits & 0x3FF)
        switch exponent {
        case 0:  // zero or subnormal: fraction * 2^-24
            let value = Float(fraction) * 0x1p-24
            return sign == 0 ? value : -value
        case 0x1F:
            return Float(bitPattern: sign | 0x7F80_0000 | fraction << 13)
        default:
            return Float(bitPattern: sign | (exponent + 112) << 23 | fraction << 13)
        }
    }

    /// The nearest half, ties to even; beyond 65,520 infinity.
    public static func bits(_ value: Float) -> UInt16 {
        let pattern = value.bitPattern
        let sign = UInt16(pattern >> 16 & 0x8000), magnitude = pattern & 0x7FFF_FFFF
        if magnitude > 0x7F80_0000 { return sign | 0x7E00 | UInt16(magnitude >> 13 & 0x3FF) }  // NaN stays NaN
        if magnitude >= 0x477F_F000 { return sign | 0x7C00 }
        if magnitude < 0x3880_0000 {  // below 2^-14: a multiple of 2^-24, which adding 0.5 rounds to
            return sign | UInt16((Float(bitPattern: magnitude) + 0.5).bitPattern & 0xFFFF)
        }
        let rounded = magnitude + 0xFFF + (magnitude >> 13 & 1)
        return sign | UInt16((rounded - (112 << 23)) >> 13)
    }

    public static func floats(_ bits: [UInt16]) -> [Float] { bits.map(float) }

    public static func bits(_ values: [Float]) -> [UInt16] { values.map { bits($0) } }
}
