#if !canImport(Darwin)
import CoreGraphics
import CoreVideo
import ImageIO
import XCTest

@testable import NexusEdge

final class PictureFileTests: XCTestCase {
    /// Two rows of three pixels, each another grey; where they end up is what Exif 2.32 says about row 0 and column 0:
    /// 1 top left, 2 top right, 3 bottom right, 4 bottom left, 5 left top, 6 right top, 7 right bottom, 8 left bottom.
    func testEachOrientationStandsUpright() throws {
        let stored: [UInt8] = [1, 2, 3, 4, 5, 6]
        let expected: [Int: (width: Int, greys: [UInt8])] = [
            1: (3, [1, 2, 3, 4, 5, 6]), 2: (3, [3, 2, 1, 6, 5, 4]), 3: (3, [6, 5, 4, 3, 2, 1]),
            4: (3, [4, 5, 6, 1, 2, 3]), 5: (2, [1, 4, 2, 5, 3, 6]), 6: (2, [4, 1, 5, 2, 6, 3]),
            7: (2, [6, 3, 5, 2, 4, 1]), 8: (2, [3, 6, 2, 5, 1, 4]), 0: (3, [1, 2, 3, 4, 5, 6]),
        ]
        for (orientation, (width, greys)) in expected {
            let image = try upright(
                width: 3, height: 2, pixels: stored.flatMap { [$0, $0, $0] }, orientation: orientation)
            XCTAssertEqual(image.width, width, "orientation \(orientation)")
            XCTAssertEqual(image.pixels, greys.flatMap { [$0, $0, $0] }, "orientation \(orientation)")
        }
    }

    func testAFileIsTurnedAndLosesItsAlpha() throws {
        let file = Data("one".utf8)
        StandInPictures.known[file] = (picture(2, 1, [10, 20, 30, 255, 200, 100, 50, 128]), 6)
        let image = try RgbImage(file: file)
        XCTAssertEqual([image.width, image.height], [1, 2])
        XCTAssertEqual(Array(image.pixels[..<3]), [10, 20, 30])
        // Multiplied by alpha and back: a step of 255 / 128 is lost at most.
        for (found, stored) in zip(image.pixels[3...], [200, 100, 50]) {
            XCTAssertLessThanOrEqual(abs(Int(found) - stored), 1)
        }
    }

    func testWhatIsNoPictureIsAnErrorThatNamesIt() {
        XCTAssertThrowsError(try RgbImage(file: Data("none".utf8), name: "scan.bin")) { error in
            XCTAssertTrue("\(error)".contains("scan.bin"), "\(error)")
        }
    }

    func testAnEnormousPictureIsRefusedBeforeItIsUnpacked() {
        let file = Data("bomb".utf8)
        StandInPictures.known[file] = (picture(1 << 14, 1 << 14, []), 1)
        XCTAssertThrowsError(try RgbImage(file: file)) { error in
            XCTAssertTrue("\(error)".contains("16384x16384"), "\(error)")
        }
    }

    func testAPixelBufferHoldsBlueGreenRed() throws {
        let buffer = try pixelBuffer(RgbImage(width: 2, height: 2, pixels: Array(1...12)))
        XCTAssertEqual(CVPixelBufferGetPixelFormatType(buffer), kCVPixelFormatType_32BGRA)
        let start = try XCTUnwrap(CVPixelBufferGetBaseAddress(buffer))
        let row = (start + CVPixelBufferGetBytesPerRow(buffer)).assumingMemoryBound(to: UInt8.self)
        XCTAssertEqual((0..<8).map { row[$0] }, [9, 8, 7, 255, 12, 11, 10, 255])
    }

    private func picture(_ width: Int, _ height: Int, _ pixels: [UInt8]) -> CGImage {
        CGImage(standInWidth: width, height: height, colorSpace: CGColorSpace(standIn: .rgb), pixels: pixels)
    }
}
#endif
