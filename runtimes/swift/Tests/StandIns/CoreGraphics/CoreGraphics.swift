// Stand-in for what NexusEdge uses of Core Graphics. A CGImage holds 8-bit numbers as a test gave them.

import Foundation

public final class CGColorSpace {
    public enum Model: Sendable { case monochrome, rgb, cmyk, indexed }

    /// Apple's type is CGColorSpaceModel.
    public let model: Model

    public init(standIn model: Model) { self.model = model }

    public static var sRGB: String { "kCGColorSpaceSRGB" }

    public init?(name: String) { model = .rgb }
}

public typealias CGColorSpaceModel = CGColorSpace.Model

public enum CGImageAlphaInfo: UInt32, Sendable {
    case none = 0
    case premultipliedLast = 1
    case noneSkipLast = 5
}

public final class CGImage {
    public let (width, height): (Int, Int)
    public let colorSpace: CGColorSpace?
    let pixels: [UInt8]

    /// - Parameter pixels: [height, width, 4], red, green, blue and alpha, not premultiplied
    public init(standInWidth width: Int, height: Int, colorSpace: CGColorSpace?, pixels: [UInt8]) {
        (self.width, self.height, self.colorSpace, self.pixels) = (width, height, colorSpace, pixels)
    }
}

public final class CGContext {
    private let (width, height, data): (Int, Int, UnsafeMutableRawPointer)
    private let bytesPerRow: Int

    public init?(
        data: UnsafeMutableRawPointer?, width: Int, height: Int, bitsPerComponent: Int, bytesPerRow: Int,
        space: CGColorSpace, bitmapInfo: UInt32
    ) {
        guard let data, bitsPerComponent == 8, bitmapInfo == CGImageAlphaInfo.premultipliedLast.rawValue,
            space.model == .rgb
        else { return nil }
        (self.width, self.height, self.data, self.bytesPerRow) = (width, height, data, bytesPerRow)
    }

    /// Only the whole image into the whole context.
    public func draw(_ image: CGImage, in rect: CGRect) {
        precondition(image.width == width && image.height == height && rect.origin == .zero)
        for row in 0..<height {
            for column in 0..<width {
                let source = (row * width + column) * 4
                let alpha = Int(image.pixels[source + 3])
                for channel in 0..<4 {
                    let value = Int(image.pixels[source + channel])
                    let stored = channel == 3 ? value : (value * alpha + 127) / 255
                    data.storeBytes(of: UInt8(stored), toByteOffset: row * bytesPerRow + column * 4 + channel, as: UInt8.self)
                }
            }
        }
    }
}
