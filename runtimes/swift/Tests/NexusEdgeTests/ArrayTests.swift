#if !canImport(Darwin)
import CoreML
import XCTest

@testable import NexusEdge

final class ArrayTests: XCTestCase {
    func testNumbersAreReadByStrides() throws {
        let array = MLMultiArray(standInShape: [2, 1, 3], dataType: .float32, rowPadding: 5)
        array.withUnsafeMutableBytes { bytes, strides in
            XCTAssertEqual(strides, [8, 8, 1])
            let numbers = bytes.bindMemory(to: Float.self)
            for row in 0..<2 {
                for column in 0..<3 { numbers[row * strides[0] + column] = Float(row * 10 + column) }
            }
        }
        XCTAssertEqual(array.numbers(), [0, 1, 2, 10, 11, 12] as [Float])
    }

    func testNumbersOfAnotherTypeAreNone() throws {
        let array = try MLMultiArray(shape: [1], dataType: .float32)
        XCTAssertNil(array.numbers(UInt16.self))
    }

    func testNumbersOnLoanAreNotCopied() throws {
        let numbers: [Int32] = [7, 8, 9, 10]
        try MLMultiArray.lending(numbers, shape: [2, 2]) { array in
            XCTAssertEqual(array.strides, [2, 1])
            XCTAssertEqual(array.numbers(), numbers)
            array.withUnsafeBytes { lent in
                numbers.withUnsafeBytes { own in XCTAssertEqual(lent.baseAddress, own.baseAddress) }
            }
        }
    }
}
#endif
