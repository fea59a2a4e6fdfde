/// Where the pixels of one image go in Phi-3-Vision's grid of crops of 336 x 336.
///
/// Portraits are worked on transposed, so `width` >= `height` in here. Phi-3 technical report (arXiv 2404.14219).
struct HdGeometry: Equatable {
    /// Pixels per side of a crop.
    static let crop = 336
    /// Features per side of a crop: 24 x 24 patches, merged 2 x 2.
    static let side = 12
    /// Level of the padding.
    static let white = 255

    /// After the resize: a multiple of 336, and before the padding.
    let width, height: Int
    let transposed: Bool

    /// The largest grid of at most `mostCrops` crops that has the shape of the image.
    ///
    /// Throws `.image` if the image is so narrow that nothing of it would be left.
    init(width: Int, height: Int, mostCrops: Int) throws {
        let ratio = Double(max(width, height)) / Double(min(width, height))
        var scale = 1
        while (scale + 1) * Int((Double(scale + 1) / ratio).rounded(.up)) <= mostCrops { scale += 1 }
        let long = scale * Self.crop
        let short = Int(Double(long) / ratio)  // truncated, as the original does
        guard short > 0 else {
            throw NexusEdgeError.image(
                "the image is too narrow: \(width)x\(height), at \(long) pixels its short side would vanish; "
                    + "crop or pad it")
        }
        (self.width, self.height, transposed) = (long, short, width < height)
    }

    private var longCrops: Int { width / Self.crop }
    private var shortCrops: Int { (height + Self.crop - 1) / Self.crop }

    var rows: Int { transposed ? longCrops : shortCrops }
    var columns: Int { transposed ? shortCrops : longCrops }

    /// Positions in the prompt: rows of features with a separator each, one separator, the global view likewise.
    var tokens: Int {
        rows * Self.side * (columns * Self.side + 1) + 1 + Self.side * (Self.side + 1)
    }

    /// The image resized, padded with white and turned back: `columns` x `rows` crops.
    func padded(_ image: RgbImage) -> RgbImage {
        let upright = transposed ? image.transposed() : image
        let resized = upright.resized(width: width, height: height, .bilinear)
        let before = (shortCrops * Self.crop - height) / 2, after = shortCrops * Self.crop - height - before
        let white = { (lines: Int) in [UInt8](repeating: UInt8(Self.white), count: 3 * self.width * lines) }
        let pixels = white(before) + resized.pixels + white(after)
        let padded = RgbImage(unchecked: pixels, width: width, height: shortCrops * Self.crop)
        return transposed ? padded.transposed() : padded
    }
}
