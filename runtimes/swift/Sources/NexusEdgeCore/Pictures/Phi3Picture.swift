/// An image as Phi-3-Vision's encoder reads it.
public struct Phi3Picture: Sendable {
    /// [viewCount, 3, 336, 336]: the global view, then the crops row by row.
    public let views: [Float]
    /// 1 + rows * columns
    public let viewCount: Int
    /// Of the grid of crops.
    public let rows, columns: Int
    /// Positions that it takes in a prompt.
    public let tokens: Int

    init(_ image: RgbImage, _ geometry: HdGeometry, _ normalisation: Normalisation) {
        let padded = geometry.padded(image)
        let crop = HdGeometry.crop, area = crop * crop
        let (rows, columns) = (geometry.rows, geometry.columns)
        (self.rows, self.columns, viewCount, tokens) = (rows, columns, 1 + rows * columns, geometry.tokens)
        let total = 3 * area * viewCount
        views = [Float](unsafeUninitializedCapacity: total) { output, count in
            withUnsafeTemporaryAllocation(of: Float.self, capacity: padded.width * padded.height) { plane in
                for channel in 0..<3 {
                    Self.fill(plane, padded, channel, normalisation.table(channel))
                    let view = UnsafeMutableBufferPointer(rebasing: output[channel * area..<(channel + 1) * area])
                    TorchBicubic.resize(
                        UnsafeBufferPointer(plane), height: padded.height, width: padded.width, size: crop, into: view)
                    for number in 0..<rows * columns {
                        let top = number / columns * crop, left = number % columns * crop
                        for y in 0..<crop {
                            let from = (top + y) * padded.width + left
                            let to = (3 * (number + 1) + channel) * area + y * crop
                            for x in 0..<crop { output[to + x] = plane[from + x] }
                        }
                    }
                }
            }
            count = total
        }
    }

    private static func fill(
        _ plane: UnsafeMutableBufferPointer<Float>, _ image: RgbImage, _ channel: Int, _ table: [Float]
    ) {
        image.pixels.withUnsafeBufferPointer { pixels in
            table.withUnsafeBufferPointer { table in
                for place in 0..<image.width * image.height { plane[place] = table[Int(pixels[3 * place + channel])] }
            }
        }
    }
}
