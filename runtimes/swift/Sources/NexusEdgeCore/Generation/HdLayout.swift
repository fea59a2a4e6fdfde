/// Features of an image's crops as one sequence. Core ML's packages leave it to the app, because it follows the
/// image's proportions and only copies rows.
public enum HdLayout {
    /// Rows of `features`, in the order of the prompt: the crops row by row as they lie in the image, a separator
    /// behind each row, the other separator, and the global view likewise; or the global view before the crops.
    ///
    /// - Parameters:
    ///   - features: [1 + rows * columns, 144, width], the global view first
    ///   - separators: [2, width]: what ends a row, and what stands between the crops and the global view
    ///   - width: numbers of a feature
    ///   - rows: of the grid of crops
    ///   - columns: of the grid of crops
    ///   - globalFirst: the global view comes before the crops
    /// - Returns: [tokens, width]
    /// - Throws: `.input` if the counts do not fit together
    public static func layOut(
        features: [UInt16], separators: [UInt16], width: Int, rows: Int, columns: Int, globalFirst: Bool = false
    ) throws -> [UInt16] {
        let side = HdGeometry.side, view = side * side * width
        guard width > 0, separators.count == 2 * width, features.count == (1 + rows * columns) * view else {
            throw NexusEdgeError.input(
                "\(features.count) features and \(separators.count) separators of width \(width) are no grid of "
                    + "\(rows) x \(columns) crops")
        }
        let (rowEnd, viewEnd) = (separators[..<width], separators[width...])
        var result: [UInt16] = []
        result.reserveCapacity(features.count + (side * (rows + 1) + 1) * width)
        func addCrops() {
            for row in 0..<rows * side {
                for column in 0..<columns {
                    let crop = 1 + row / side * columns + column
                    let start = crop * view + row % side * side * width
                    result += features[start..<start + side * width]
                }
                result += rowEnd
            }
        }
        func addGlobalView() {
            for row in 0..<side {
                result += features[row * side * width..<(row + 1) * side * width]
                result += rowEnd
            }
        }
        if globalFirst { addGlobalView() } else { addCrops() }
        result += viewEnd
        if globalFirst { addCrops() } else { addGlobalView() }
        return result
    }
}
