#if canImport(CoreML)
import CoreML
import Foundation

/// A number that Core ML's arrays hold. Half precision travels as its bits.
protocol ArrayNumber: BitwiseCopyable {
    static var dataType: MLMultiArrayDataType { get }
}

extension UInt16: ArrayNumber { static var dataType: MLMultiArrayDataType { .float16 } }
extension Float: ArrayNumber { static var dataType: MLMultiArrayDataType { .float32 } }
extension Int32: ArrayNumber { static var dataType: MLMultiArrayDataType { .int32 } }

extension MLMultiArray {
    /// Lends numbers to Core ML without a copy; the array must not be kept beyond `body`.
    ///
    /// - Parameter shape: its product is the number of `values`
    static func lending<Number: ArrayNumber, Result>(
        _ values: [Number], shape: [Int], _ body: (MLMultiArray) throws -> Result
    ) throws -> Result {
        precondition(shape.reduce(1, *) == values.count)
        var strides = [Int](repeating: 1, count: shape.count)
        for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * shape[axis + 1] }
        return try values.withUnsafeBytes { bytes in
            // Core ML asks for mutable memory and does not write into inputs.
            guard let start = bytes.baseAddress else { throw NexusEdgeError.input("no numbers for the model") }
            let array = try MLMultiArray(
                dataPointer: UnsafeMutableRawPointer(mutating: start), shape: shape.map { NSNumber(value: $0) },
                dataType: Number.dataType, strides: strides.map { NSNumber(value: $0) })
            return try body(array)
        }
    }

    /// All numbers, row by row. Outputs of the Neural Engine have room between their rows, hence by strides.
    ///
    /// - Returns: nil if the array holds numbers of another type
    func numbers<Number: ArrayNumber>(_ type: Number.Type = Number.self) -> [Number]? {
        guard dataType == Number.dataType else { return nil }
        let sizes = shape.map(\.intValue), steps = strides.map(\.intValue)
        let width = sizes.last ?? 1, step = steps.last ?? 1
        return withUnsafeBytes { bytes in
            let source = bytes.bindMemory(to: Number.self)
            var result: [Number] = []
            result.reserveCapacity(sizes.reduce(1, *))
            for start in rowStarts(sizes.dropLast(), steps.dropLast()) {
                if step == 1 {
                    result.append(contentsOf: source[start..<start + width])
                } else {
                    result.append(contentsOf: (0..<width).map { source[start + $0 * step] })
                }
            }
            return result
        }
    }
}

/// Where each row begins, in order of the leading indices.
private func rowStarts(_ sizes: ArraySlice<Int>, _ steps: ArraySlice<Int>) -> [Int] {
    zip(sizes, steps).reduce([0]) { starts, axis in
        starts.flatMap { start in (0..<axis.0).map { start + $0 * axis.1 } }
    }
}
#endif
