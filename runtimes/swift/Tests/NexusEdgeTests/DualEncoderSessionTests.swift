#if !canImport(Darwin)
import CoreML
import XCTest

@testable import NexusEdge

/// The session's code against recorded calls of the embedded towers' packages.
final class DualEncoderSessionTests: XCTestCase {
    private static let labels = ["white blood cell", "red blood cell", "platelet"]

    /// Of numbers up to 1: products of the same vectors, added up in another order in float32.
    private static let tolerance = 1e-5

    func testLabelsAreComparedAsInPython() async throws {
        let fixture = try Fixture("biomedclip")
        let session = try await DualEncoderSession.open(fixture.folder, options: fixture.options)
        let bank = try await session.labelBank(PromptSet(labels: Self.labels))
        let result = try await session.classify(fixture.picture, bank)
        XCTAssertEqual(result.labels, Self.labels)
        for (place, label) in Self.labels.enumerated() {
            let expected = try XCTUnwrap(fixture.labels[label])
            XCTAssertEqual(Double(result.similarities[place]), expected.similarity, accuracy: Self.tolerance, label)
            XCTAssertEqual(Double(result.probabilities[place]), expected.probability, accuracy: Self.tolerance, label)
        }
    }

    func testTheTextTowerIsNotLoadedForPictures() async throws {
        let fixture = try Fixture("biomedclip")
        let session = try await DualEncoderSession.open(fixture.folder, options: fixture.options)
        _ = try await session.embed(fixture.picture)
        XCTAssertEqual(
            fixture.replay.events.filter { $0.hasPrefix("load") },
            ["load image_encoder.mlmodelc pixel_values cpuAndNeuralEngine"])
        await session.release()
        _ = try await session.embed(fixture.picture)
        XCTAssertEqual(fixture.replay.events.filter { $0.hasPrefix("load") }.count, 2)
    }

    func testSearchFindsThePictureFirst() async throws {
        let fixture = try Fixture("biomedclip")
        let session = try await DualEncoderSession.open(fixture.folder, options: fixture.options)
        let embedding = try await session.embed(fixture.picture)
        var index = PictureIndex()
        try index.add("opposite", embedding.map { -$0 })
        try index.add("itself", embedding)
        let byPicture = try await session.search(fixture.picture, in: index, top: 1)
        XCTAssertEqual(byPicture.map(\.name), ["itself"])
        XCTAssertEqual(byPicture[0].similarity, 1, accuracy: 1e-3)  // float16 within the tower
        let byText = try await session.search("this is a photo of white blood cell", in: index, top: 5)
        XCTAssertEqual(byText.map(\.name), ["itself", "opposite"])
    }

    func testABundleThatAnswersDoesNotCompare() async throws {
        let fixture = try Fixture("phi3-vision")
        do {
            _ = try await DualEncoderSession.open(fixture.folder, options: fixture.options)
            XCTFail("that should have failed")
        } catch let error as NexusEdgeError {
            XCTAssertTrue(error.message.contains("does not compare"), error.message)
        }
    }
}
#endif
