import Foundation
import NexusEdgeCore
import Testing

/// Pixels to the last bit as the original processors make them.
@Suite struct PictureTests {
    /// Those that an unoptimised build computes in a moment; the Python tests go through all.
    static let quick = ["07_100x37_RGB.c4", "08_1x1_RGB.c1", "13_123x321_P.c4"]

    @Test(arguments: quick) func phi3Views(key: String) throws {
        let cases = try #require(try Goldens.json("phi3_vision_preprocess/expected.json") as? [[String: Any]])
        let golden = try #require(cases.first { $0["key"] as? String == key })
        let file = try #require(golden["file"] as? String)
        let image = try readPng(Goldens.folder.appendingPathComponent("phi3_vision_preprocess/\(file)"))
        let picture = try Goldens.phi3(mostCrops: try #require(golden["num_crops"] as? Int)).picture(image)
        #expect([picture.tokens] == golden["num_img_tokens"] as? [Int])
        #expect([[336 * picture.rows, 336 * picture.columns]] == golden["image_sizes"] as? [[Int]])
        // The original fills up with empty views.
        let shape = try #require(golden["pixel_values_shape"] as? [Int])
        let rest = [Float](repeating: 0, count: shape.reduce(1, *) - picture.views.count)
        #expect(sha256(picture.views + rest) == golden["sha256_pixel_values"] as? String)
    }

    @Test func biomedClipPixels() throws {
        let cases = try #require(try Goldens.json("biomedclip_tiny/cases.json") as? [String: Any])
        let hashes = try #require(cases["pixel_sha256"] as? [String])
        let names = try #require(cases["images"] as? [String])
        let processor = try Goldens.biomedclip()
        // Those with an alpha channel or a palette are resized in another way by the original.
        for (name, hash) in zip(names, hashes) where !name.contains("RGBA") && !name.contains("_P") {
            let file = URL(fileURLWithPath: name).lastPathComponent
            let image = try readPng(Goldens.folder.appendingPathComponent("biomedclip_tiny/images/\(file)"))
            #expect(sha256(try processor.pixelValues(image)) == hash, "\(name)")
            let cropped = try processor.cropped(image)
            #expect(cropped.width == 224 && cropped.height == 224)
            #expect(try processor.pixelValues(cropped) == processor.pixelValues(image))
        }
    }

    @Test func whatIsNoPictureIsRefused() throws {
        #expect(throws: NexusEdgeError.self) { try RgbImage(width: 2, height: 1, pixels: [0, 0, 0]) }
        #expect(throws: NexusEdgeError.self) { try RgbImage(width: 0, height: 0, pixels: []) }
        #expect(throws: NexusEdgeError.self) { try RgbImage(width: 1 << 40, height: 1 << 40, pixels: []) }
        let line = try RgbImage(width: 1, height: 4000, pixels: [UInt8](repeating: 9, count: 12000))
        #expect(throws: NexusEdgeError.self) { try Goldens.phi3(mostCrops: 4).picture(line) }
    }

    @Test func resizingToTheSameSizeChangesNothing() throws {
        let pixels = (0..<60).map { UInt8($0 * 4) }
        let image = try RgbImage(width: 5, height: 4, pixels: pixels)
        #expect(image.resized(width: 5, height: 4, .bicubic) == image)
        // Two pixels to one, bilinear: the weights are equal.
        let half = try RgbImage(width: 2, height: 1, pixels: [0, 10, 100, 100, 30, 101])
        #expect(half.resized(width: 1, height: 1, .bilinear).pixels == [50, 20, 101])
    }

    @Test func layoutPutsEachFeatureWhereItsPatchIs() throws {
        // A feature is one number: crop * 144 + its place in the crop; separators are 60000 and 60001.
        let (rows, columns) = (2, 3)
        let laid = try HdLayout.layOut(
            features: Array(0..<UInt16(7 * 144)), separators: [60000, 60001], width: 1, rows: rows, columns: columns)
        #expect(laid.count == rows * 12 * (columns * 12 + 1) + 1 + 12 * 13)
        for y in 0..<24 {
            for x in 0..<36 {
                let crop = 1 + y / 12 * columns + x / 12
                #expect(laid[y * 37 + x] == UInt16(crop * 144 + y % 12 * 12 + x % 12))
            }
            #expect(laid[y * 37 + 36] == 60000)
        }
        #expect(laid[24 * 37] == 60001)
        let view = Array(laid[(24 * 37 + 1)...])
        #expect(view.indices.allSatisfy { view[$0] == ($0 % 13 == 12 ? 60000 : UInt16($0 / 13 * 12 + $0 % 13)) })
        let turned = try HdLayout.layOut(
            features: Array(0..<UInt16(7 * 144)), separators: [60000, 60001], width: 1, rows: rows, columns: columns,
            globalFirst: true)
        #expect(turned == view + [60001] + laid[..<(24 * 37)])
        #expect(throws: NexusEdgeError.self) {
            try HdLayout.layOut(features: [1], separators: [1, 2], width: 1, rows: 1, columns: 1)
        }
    }
}
