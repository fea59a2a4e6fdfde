// Stand-in for what NexusEdge uses of Image I/O: a file is an image that a test registered under its bytes.

import CoreGraphics
import Foundation

// Core Foundation's; Apple's are bridged to Swift's types by a cast, as these are.
public typealias CFData = Data
public typealias CFDictionary = Any
public typealias CFString = String

public let kCGImagePropertyOrientation: CFString = "Orientation"
public let kCGImagePropertyPixelWidth: CFString = "PixelWidth"
public let kCGImagePropertyPixelHeight: CFString = "PixelHeight"

public final class CGImageSource {
    let image: CGImage
    let properties: CFDictionary

    init(_ image: CGImage, _ properties: CFDictionary) { (self.image, self.properties) = (image, properties) }
}

public enum StandInPictures {
    nonisolated(unsafe) public static var known: [Data: (image: CGImage, orientation: Int)] = [:]
}

public func CGImageSourceCreateWithData(_ data: CFData, _ options: CFDictionary?) -> CGImageSource? {
    guard let found = StandInPictures.known[data] else { return nil }
    let properties: [CFString: Any] = [
        kCGImagePropertyOrientation: found.orientation, kCGImagePropertyPixelWidth: found.image.width,
        kCGImagePropertyPixelHeight: found.image.height,
    ]
    return CGImageSource(found.image, properties)
}

public func CGImageSourceCopyPropertiesAtIndex(_ source: CGImageSource, _ index: Int, _ options: CFDictionary?)
    -> CFDictionary?
{
    source.properties
}

public func CGImageSourceCreateImageAtIndex(_ source: CGImageSource, _ index: Int, _ options: CFDictionary?) -> CGImage? {
    source.image
}
