import Foundation

/// What a text tower made of labels, so that a device needs the image tower only.
public struct LabelBank: Sendable, Equatable {
    /// The labels and templates it was made of.
    public let prompts: PromptSet
    /// One per label, of length 1.
    public let embeddings: [[Float]]
    /// SHA-256 of the tower that made it; nil if it was made in this process.
    public let textTower: String?
    /// Of the bundle, for people.
    public let model, weights: String

    public var labels: [String] { prompts.labels }

    private static let format = "nexus-edge label bank 2"
    /// What the hash is of, in this order, before the numbers.
    private static let sealed = ["format", "labels", "templates", "text_tower", "model", "weights"]

    /// Throws `.input` if rows and labels do not fit together or a row is not of length 1.
    public init(
        prompts: PromptSet, embeddings: [[Float]], textTower: String? = nil, model: String = "", weights: String = ""
    ) throws {
        guard embeddings.count == prompts.labels.count else {
            throw NexusEdgeError.input("\(embeddings.count) embeddings of \(prompts.labels.count) labels")
        }
        guard Set(embeddings.map(\.count)).count == 1, embeddings.allSatisfy(UnitRows.isUnit) else {
            throw NexusEdgeError.input("label embeddings are not finite, or not of length 1; make the bank again")
        }
        (self.prompts, self.embeddings, self.textTower) = (prompts, embeddings, textTower)
        (self.model, self.weights) = (model, weights)
    }

    /// Reads a file that `nexus-edge bank` wrote: safetensors with one tensor, `embeddings` float32 [labels, dim].
    ///
    /// Throws `.bundle` or `.input` that say what is wrong with it.
    public init(contentsOf url: URL) throws {
        let again = "make it again with nexus-edge bank"
        guard let data = try? Data(contentsOf: url) else {
            throw NexusEdgeError.bundle("\(url.path) cannot be read; \(again)")
        }
        let damaged = NexusEdgeError.bundle("\(url.path) is no label bank of this version; \(again)")
        // Eight bytes with the length of a JSON header, the header, the numbers; all little endian.
        guard data.count > 8 else { throw damaged }
        let size = data.prefix(8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard size <= UInt64(data.count - 8) else { throw damaged }
        let start = data.startIndex + 8, numbers = start + Int(size)
        guard case .object(let fields) = try Json.parse(data[start..<numbers], source: url.path) else { throw damaged }
        let header = JsonObject(fields: fields, source: url.path)
        let facts = try header.object("__metadata__"), tensor = try header.object("embeddings")
        guard try facts.optionalText("format") == Self.format, try tensor.optionalText("dtype") == "F32" else {
            throw damaged
        }
        let shape = try tensor.integers("shape"), offsets = try tensor.integers("data_offsets")
        guard shape.count == 2, offsets.count == 2, shape.allSatisfy({ (1...1 << 24).contains($0) }),
            0 <= offsets[0], offsets[1] <= data.endIndex - numbers, offsets[1] - offsets[0] == 4 * shape[0] * shape[1]
        else { throw damaged }
        let rows = data[numbers + offsets[0]..<numbers + offsets[1]]
        guard try facts.text("sha256") == Self.digest(try Self.sealed.map { try facts.text($0) }, rows) else {
            throw NexusEdgeError.bundle("\(url.path) is damaged, its checksum is not that of its data; \(again)")
        }
        let values = rows.withUnsafeBytes { bytes in
            (0..<shape[0] * shape[1]).map { place in
                Float(bitPattern: UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4 * place, as: UInt32.self)))
            }
        }
        try self.init(
            prompts: PromptSet(
                labels: try Self.texts(facts, "labels"), templates: try Self.texts(facts, "templates")),
            embeddings: (0..<shape[0]).map { Array(values[$0 * shape[1]..<($0 + 1) * shape[1]]) },
            textTower: try facts.text("text_tower"), model: try facts.text("model"), weights: try facts.text("weights"))
    }

    /// SHA-256 (hex) of texts in UTF-8, each with a zero byte after it, and of the numbers as they are in the file.
    private static func digest(_ texts: [String], _ rows: Data) -> String {
        var bytes: [UInt8] = []
        for text in texts { bytes += Array(text.utf8) + [0] }
        bytes += Array(rows)
        return bytes.withUnsafeBytes(Sha256.digest).map { String(format: "%02x", Int($0)) }.joined()
    }

    /// A list of texts, itself written as JSON in a text.
    private static func texts(_ facts: JsonObject, _ key: String) throws -> [String] {
        let list = try Json.parse(Data(try facts.text(key).utf8), source: "\(facts.source), \(key)")
        return try JsonObject(fields: [ExactText(key): list], source: facts.source).texts(key)
    }
}
