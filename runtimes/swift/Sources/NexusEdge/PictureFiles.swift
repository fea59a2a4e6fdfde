#if canImport(ImageIO)
import CoreGraphics
import Foundation
import ImageIO

extension RgbImage {
    /// Beyond it an image is rather an attack than a photograph; the same limit as in Python.
    static var mostPixels: Int { 128 << 20 }

    /// From the bytes of an image file (JPEG, HEIC, PNG, ...), turned upright.
    ///
    /// Numbers are those of the file, whatever its colour space: Python's processor converts none either.
    ///
    /// - Throws: `NexusEdgeError.image`
    public init(file: Data, name: String = "image") throws {
        guard let source = CGImageSourceCreateWithData(file as CFData, nil),
            let properties = CGImageSourceCopyPropertiesAtIndex(source, 0, nil) as? [CFString: Any],
            let width = properties[kCGImagePropertyPixelWidth] as? Int,
            let height = properties[kCGImagePropertyPixelHeight] as? Int
        else {
            throw NexusEdgeError.image("\(name): not an image that this system can read")
        }
        guard width * height <= Self.mostPixels else {  // known from the header, before anything is unpacked
            throw NexusEdgeError.image("\(name): \(width)x\(height) is more than \(Self.mostPixels) pixels")
        }
        guard let image = CGImageSourceCreateImageAtIndex(source, 0, nil) else {
            throw NexusEdgeError.image("\(name): the file is damaged")
        }
        try self.init(image, orientation: properties[kCGImagePropertyOrientation] as? Int ?? 1, name: name)
    }

    /// - Parameter orientation: the number of EXIF, 1 for an image that stands upright
    public init(_ image: CGImage, orientation: Int = 1, name: String = "image") throws {
        let (width, height) = (image.width, image.height)
        // Drawn in its own space nothing is converted. Grey, palettes, CMYK, and what no 8 bits can hold become sRGB.
        let own = image.colorSpace.flatMap { $0.model == .rgb ? $0 : nil }
        let spaces = [own, CGColorSpace(name: CGColorSpace.sRGB)].compactMap { $0 }
        guard let drawn = spaces.lazy.compactMap({ draw(image, $0) }).first else {
            throw NexusEdgeError.image("\(name): \(width)x\(height) cannot be drawn")
        }
        self = try upright(
            width: width, height: height, pixels: withoutAlpha(drawn), orientation: orientation)
    }
}

/// [height, width, 4], multiplied by alpha; nil if Core Graphics cannot draw 8 bits in this space.
private func draw(_ image: CGImage, _ space: CGColorSpace) -> [UInt8]? {
    var drawn = [UInt8](repeating: 0, count: image.width * image.height * 4)
    let done = drawn.withUnsafeMutableBytes { bytes -> Bool in
        guard
            let context = CGContext(
                data: bytes.baseAddress, width: image.width, height: image.height, bitsPerComponent: 8,
                bytesPerRow: image.width * 4, space: space, bitmapInfo: CGImageAlphaInfo.premultipliedLast.rawValue)
        else { return false }
        context.draw(image, in: CGRect(x: 0, y: 0, width: image.width, height: image.height))
        return true
    }
    return done ? drawn : nil
}

/// Drops alpha as Python's processor does: the colours behind it stay. Core Graphics has multiplied them; what was fully
/// transparent is black.
private func withoutAlpha(_ premultiplied: [UInt8]) -> [UInt8] {
    let count = premultiplied.count / 4
    return [UInt8](unsafeUninitializedCapacity: count * 3) { result, used in
        for pixel in 0..<count {
            let alpha = Int(premultiplied[pixel * 4 + 3])
            for channel in 0..<3 {
                let value = Int(premultiplied[pixel * 4 + channel])
                let whole = alpha == 0 ? value : min(255, (value * 255 + alpha / 2) / alpha)
                result[pixel * 3 + channel] = UInt8(whole)
            }
        }
        used = count * 3
    }
}
#endif
