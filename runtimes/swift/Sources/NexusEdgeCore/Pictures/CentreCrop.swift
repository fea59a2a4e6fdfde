extension RgbImage {
    /// The square in the middle, as CLIP's transform takes it: shortest side resized to `size` pixels, the rest cut.
    ///
    /// Throws `.image` if the image is so narrow that the resize would not fit into memory.
    func centreCrop(_ size: Int, _ filter: ResizeFilter) throws -> RgbImage {
        // Truncated, as in torchvision.
        let long = Int(Double(size * max(width, height)) / Double(min(width, height)))
        guard size * long <= Self.mostPixels else {
            throw NexusEdgeError.image("the image is too narrow: \(width)x\(height); crop or pad it")
        }
        let (newWidth, newHeight) = width <= height ? (size, long) : (long, size)
        // Halves go to the even neighbour, as in torchvision.
        let middle = { (side: Int) in Int((Double(side - size) / 2).rounded(.toNearestOrEven)) }
        return resized(width: newWidth, height: newHeight, filter)
            .cropped(left: middle(newWidth), top: middle(newHeight), width: size, height: size)
    }

    /// [3, height, width], normalised.
    func planes(_ normalisation: Normalisation) -> [Float] {
        (0..<3).flatMap { channel in
            let table = normalisation.table(channel)
            return stride(from: channel, to: pixels.count, by: 3).map { table[Int(pixels[$0])] }
        }
    }
}
