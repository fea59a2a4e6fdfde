#if canImport(CoreML)
import CoreVideo

/// An image in the form that image inputs take: blue, green, red, alpha. The numbers stay as they are: Core ML
/// converts no colours of a pixel buffer.
///
/// - Throws: `NexusEdgeError.image` if there is no memory for it
func pixelBuffer(_ image: RgbImage) throws -> CVPixelBuffer {
    var made: CVPixelBuffer?
    let status = CVPixelBufferCreate(nil, image.width, image.height, kCVPixelFormatType_32BGRA, nil, &made)
    guard status == kCVReturnSuccess, let buffer = made else {
        throw NexusEdgeError.image("no pixel buffer of \(image.width)x\(image.height) (Core Video's error \(status))")
    }
    _ = CVPixelBufferLockBaseAddress(buffer, [])
    defer { _ = CVPixelBufferUnlockBaseAddress(buffer, []) }
    guard let start = CVPixelBufferGetBaseAddress(buffer) else {
        throw NexusEdgeError.image("a pixel buffer of \(image.width)x\(image.height) without memory")
    }
    let bytesPerRow = CVPixelBufferGetBytesPerRow(buffer)
    for row in 0..<image.height {
        let target = (start + row * bytesPerRow).assumingMemoryBound(to: UInt8.self)
        for column in 0..<image.width {
            let source = (row * image.width + column) * 3
            target[column * 4] = image.pixels[source + 2]
            target[column * 4 + 1] = image.pixels[source + 1]
            target[column * 4 + 2] = image.pixels[source]
            target[column * 4 + 3] = 255
        }
    }
    return buffer
}
#endif
