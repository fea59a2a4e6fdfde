#if !canImport(Darwin)
import CoreML
import Foundation

@testable import NexusEdge

/// A bundle without its packages, whose calls are recorded.
struct Fixture {
    private struct Expected: Decodable {
        struct Picture: Decodable {
            let file: String
            let width, height: Int
        }

        let picture: Picture
        let question, answer: String?
        let promptTokens, newTokens: Int?
        let probabilities: [String: Double]?

        enum CodingKeys: String, CodingKey {
            case picture, question, answer, probabilities
            case promptTokens = "prompt_tokens"
            case newTokens = "new_tokens"
        }
    }

    let folder: URL
    let replay: Replay
    let picture: RgbImage
    let question, answer: String
    let promptTokens, newTokens: Int
    let probabilities: [String: Double]
    /// Compiled packages go to a folder of this test's own.
    var options = SessionOptions()

    /// Takes Core ML's place from here on.
    init(_ name: String) throws {
        guard let resources = Bundle.module.resourceURL else { throw StandInError("no resources") }
        folder = resources.appendingPathComponent("Fixtures").appendingPathComponent(name)
        replay = try Replay(folder, manifest: CoreMLMetadata(folder: folder).model.manifestSha256)
        let expected = try JSONDecoder().decode(
            Expected.self, from: Data(contentsOf: folder.appendingPathComponent("calls.json")))
        let pixels = try Data(contentsOf: folder.appendingPathComponent(expected.picture.file))
        picture = try RgbImage(
            width: expected.picture.width, height: expected.picture.height, pixels: [UInt8](pixels))
        (question, answer) = (expected.question ?? "", expected.answer ?? "")
        (promptTokens, newTokens) = (expected.promptTokens ?? 0, expected.newTokens ?? 0)
        probabilities = expected.probabilities ?? [:]
        let temporary = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        options.compiledModels = try CompiledModels(folder: temporary)
        StandIn.backend = replay
    }
}

/// All pieces of a stream.
func text(_ stream: AsyncThrowingStream<String, any Error>) async throws -> String {
    var text = ""
    for try await piece in stream { text += piece }
    return text
}
#endif
