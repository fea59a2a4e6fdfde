import Foundation

@testable import NexusEdge

/// What the Python pipeline made of an image, from calls.json.
struct Expected {
    struct Label: Decodable {
        /// Cosine, and its share after the softmax.
        let similarity, probability: Double
    }

    private struct Table: Decodable {
        struct Picture: Decodable {
            let file: String
            let width, height: Int
        }

        let picture: Picture
        let question, answer: String?
        let promptTokens, newTokens: Int?
        let labels: [String: Label]?

        enum CodingKeys: String, CodingKey {
            case picture, question, answer, labels
            case promptTokens = "prompt_tokens"
            case newTokens = "new_tokens"
        }
    }

    /// A bundle without its packages.
    let folder: URL
    let picture: RgbImage
    let question, answer: String
    let promptTokens, newTokens: Int
    let labels: [String: Label]

    init(_ name: String) throws {
        guard let resources = Bundle.module.resourceURL else { throw NexusEdgeError.input("no resources") }
        folder = resources.appendingPathComponent("Fixtures").appendingPathComponent(name)
        let table = try JSONDecoder().decode(
            Table.self, from: Data(contentsOf: folder.appendingPathComponent("calls.json")))
        let pixels = try Data(contentsOf: folder.appendingPathComponent(table.picture.file))
        picture = try RgbImage(width: table.picture.width, height: table.picture.height, pixels: [UInt8](pixels))
        (question, answer) = (table.question ?? "", table.answer ?? "")
        (promptTokens, newTokens) = (table.promptTokens ?? 0, table.newTokens ?? 0)
        labels = table.labels ?? [:]
    }
}
