/// An image of 8-bit RGB, row by row without padding: upright, and with the values that stand in the file.
public struct RgbImage: Sendable, Equatable {
    public let width, height: Int
    /// [height, width, 3]
    public let pixels: [UInt8]

    /// 134 million: more than the 108-megapixel sensors of phones.
    public static let mostPixels = 128 << 20

    /// Throws `.image` if the numbers do not fit together, or the image is empty or too large.
    public init(width: Int, height: Int, pixels: [UInt8]) throws {
        guard width > 0, height > 0 else {
            throw NexusEdgeError.image("the image is \(width)x\(height); give one with at least one pixel")
        }
        guard width <= Self.mostPixels / height else {
            throw NexusEdgeError.image("the image is \(width)x\(height); make it smaller first")
        }
        guard pixels.count == 3 * width * height else {
            throw NexusEdgeError.image(
                "the image is \(width)x\(height) with \(pixels.count) bytes; RGB takes \(3 * width * height)")
        }
        (self.width, self.height, self.pixels) = (width, height, pixels)
    }

    init(unchecked pixels: [UInt8], width: Int, height: Int) {
        (self.width, self.height, self.pixels) = (width, height, pixels)
    }

    /// Rows and columns exchanged.
    func transposed() -> RgbImage {
        let result = [UInt8](unsafeUninitializedCapacity: pixels.count) { output, count in
            pixels.withUnsafeBufferPointer { input in
                for y in 0..<height {
                    for x in 0..<width {
                        let from = 3 * (y * width + x), to = 3 * (x * height + y)
                        output[to] = input[from]
                        output[to + 1] = input[from + 1]
                        output[to + 2] = input[from + 2]
                    }
                }
            }
            count = pixels.count
        }
        return RgbImage(unchecked: result, width: height, height: width)
    }

    /// The rectangle of `width` x `height` pixels whose upper left corner is there; it must lie inside.
    func cropped(left: Int, top: Int, width cropWidth: Int, height cropHeight: Int) -> RgbImage {
        var result: [UInt8] = []
        result.reserveCapacity(3 * cropWidth * cropHeight)
        for y in top..<top + cropHeight {
            let start = 3 * (y * width + left)
            result += pixels[start..<start + 3 * cropWidth]
        }
        return RgbImage(unchecked: result, width: cropWidth, height: cropHeight)
    }

    /// Equal exactly for images of the same size and pixels.
    var identity: [UInt8] {
        let size = [width, height].flatMap { number in (0..<8).map { UInt8(truncatingIfNeeded: number >> (8 * $0)) } }
        return (size + pixels).withUnsafeBytes(Sha256.digest)
    }
}
