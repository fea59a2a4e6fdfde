import XCTest

@testable import NexusEdge

/// On a Mac with Core ML itself: NEXUS_EDGE_ANSWERS and NEXUS_EDGE_TOWERS are bundles of the embedded checkpoints, which
/// `nexus-edge export phi3-vision --int4 --target coreml --checkpoint tiny` and `nexus-edge export biomedclip --int8
/// --target coreml --checkpoint tiny` write. Nobody has run these yet;
/// without the variables they are skipped.
final class AppleTests: XCTestCase {
    func testTheAnswerIsTheEvaluators() async throws {
        guard #available(macOS 15, iOS 18, *) else { throw XCTSkip("needs macOS 15 or iOS 18") }
        let expected = try Expected("phi3-vision")
        let session = try await VisionLanguageSession.open(try bundle("NEXUS_EDGE_ANSWERS"), options: options())
        var answer = ""
        for try await piece in session.generate(
            expected.question, images: [expected.picture], options: try GenerationOptions())
        {
            answer += piece
        }
        XCTAssertEqual(answer, expected.answer)
    }

    func testSimilaritiesAreTheEvaluators() async throws {
        let expected = try Expected("biomedclip")
        let session = try await DualEncoderSession.open(try bundle("NEXUS_EDGE_TOWERS"), options: options())
        let bank = try await session.labelBank(PromptSet(labels: expected.labels.keys.sorted()))
        let result = try await session.classify(expected.picture, bank)
        for (label, similarity) in zip(result.labels, result.similarities) {
            // Towers in half precision, in another order of additions: the evaluator's are about 0.002 from float32's.
            XCTAssertEqual(Double(similarity), expected.labels[label]?.similarity ?? -2, accuracy: 0.01, label)
        }
    }

    private func bundle(_ variable: String) throws -> URL {
        guard let path = ProcessInfo.processInfo.environment[variable] else { throw XCTSkip("\(variable) is not set") }
        return URL(fileURLWithPath: path, isDirectory: true)
    }

    private func options() throws -> SessionOptions {
        var options = SessionOptions()
        options.compiledModels = try CompiledModels(
            folder: FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString))
        return options
    }
}
