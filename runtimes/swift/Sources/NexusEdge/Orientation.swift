/// Pixels as a camera stored them, to be turned upright by the number in the file (Exif 2.32, tag 0x0112).
///
/// - Parameters:
///   - width, height: as stored
///   - pixels: [height, width, 3]
///   - orientation: 1 to 8; any other leaves the image as it is
func upright(width: Int, height: Int, pixels: [UInt8], orientation: Int) throws -> RgbImage {
    guard (2...8).contains(orientation) else { return try RgbImage(width: width, height: height, pixels: pixels) }
    let turned = orientation >= 5
    let (newWidth, newHeight) = turned ? (height, width) : (width, height)
    // Whether the stored image begins on the other side.
    let (fromRight, fromBelow) = ([2, 3, 7, 8].contains(orientation), [3, 4, 6, 7].contains(orientation))
    var result = [UInt8](repeating: 0, count: pixels.count)
    for row in 0..<newHeight {
        for column in 0..<newWidth {
            let (across, down) = turned ? (row, column) : (column, row)
            let x = fromRight ? width - 1 - across : across
            let y = fromBelow ? height - 1 - down : down
            let (source, target) = ((y * width + x) * 3, (row * newWidth + column) * 3)
            for channel in 0..<3 { result[target + channel] = pixels[source + channel] }
        }
    }
    return try RgbImage(width: newWidth, height: newHeight, pixels: result)
}
