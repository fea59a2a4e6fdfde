import Foundation
import NexusEdgeCore

/// What Python asks; keys depend on the task.
struct Request {
    let fields: JsonObject

    init(_ line: String) throws {
        guard case .object(let fields) = try Json.parse(Data(line.utf8), source: "request") else {
            throw NexusEdgeError.input("the request is no JSON object")
        }
        self.fields = JsonObject(fields: fields, source: "request")
    }

    func folder() throws -> URL { URL(fileURLWithPath: try fields.text("folder"), isDirectory: true) }

    /// `rgb` is a file of raw pixels [height, width, 3].
    func picture() throws -> RgbImage {
        let data = try Data(contentsOf: URL(fileURLWithPath: try fields.text("rgb")))
        return try RgbImage(
            width: try fields.integer("width"), height: try fields.integer("height"), pixels: Array(data))
    }

    /// `messages`: each a `role` and its `parts`, where null is the place of the next image.
    func messages() throws -> [ChatMessage] {
        try fields.objects("messages").map { message in
            guard let role = ChatMessage.Role(rawValue: try message.text("role")) else {
                throw message.wrong("role", "a role")
            }
            return ChatMessage(role: role, parts: try message.list("parts").map { part in
                if case .text(let text) = part { .text(text) } else { .image }
            })
        }
    }

    func floats(_ key: String) throws -> [Float] {
        try fields.list(key).map { value in
            guard case .number(let number) = value else { throw fields.wrong(key, "a list of numbers") }
            return Float(number)
        }
    }
}

/// What Python gets; absent keys are left out.
struct Answer: Encodable {
    var ids: [Int]?
    var text: String?
    var texts: [String]?
    var numbers: [Double]?
    var sha256: String?
    var error: String?
}

extension Array {
    /// Of the elements' bytes in memory, which are little endian wherever this runs.
    var sha256: String {
        withUnsafeBytes(Sha256.digest).map { byte in
            String(byte >> 4, radix: 16) + String(byte & 15, radix: 16)
        }.joined()
    }
}
