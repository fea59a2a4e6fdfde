import Foundation

/// The Llama-style tokenizer of the Phi-3 models: ids and back with the bundle's own tokenizer.json.
public struct Phi3Tokenizer: Sendable {
    /// The token that begins each text; nil where the tokenizer has none.
    public let bosId: Int?

    private let added: AddedTokens
    private let model: BytePairs
    private let pieces: [Int: String]
    private let specialIds: Set<Int>
    private let byteValues: [Int: UInt8]

    /// Reads tokenizer.json and tokenizer_config.json; throws `.bundle` if one is missing, wrong, or of another kind
    /// than what is computed here.
    public init(folder: URL) throws {
        let file = try Json.object(at: folder.appendingPathComponent("tokenizer.json"))
        try Self.checkSteps(file)
        added = try AddedTokens(file)
        model = try BytePairs(try file.object("model"))
        var pieces: [Int: String] = [:]
        for (token, id) in model.ids { pieces[id] = token.text }
        for token in added.tokens { pieces[token.id] = text(token.content) }
        self.pieces = pieces
        specialIds = Set(added.tokens.filter(\.special).map(\.id))
        let ids = model.ids
        byteValues = Dictionary(
            uniqueKeysWithValues: (UInt8.min...UInt8.max).compactMap { byte in
                ids[ExactText(byteToken(byte))].map { ($0, byte) }
            })
        bosId = try Self.bosId(folder, added, ids)
    }

    /// The id of a token given as text.
    public func id(of token: String) -> Int? {
        let scalars = Array(token.unicodeScalars)
        return added.tokens.first { $0.content == scalars }?.id ?? model.ids[ExactText(token)]
    }

    /// Ids of `text`, after the BOS where the tokenizer has one.
    public func encode(_ text: String, addBos: Bool = true) -> [Int] {
        var ids = addBos ? [bosId].compactMap { $0 } : []
        for piece in added.split(Array(text.unicodeScalars)) {
            switch piece {
            case .token(let id): ids.append(id)
            case .text(let scalars):
                // Each stretch of text gets a mark of its own at its start, and one for each space.
                ids += model.encode([wordMark] + scalars.map { $0 == " " ? wordMark : $0 })
            }
        }
        return ids
    }

    /// Text of `ids`; negative ids (places of pictures) and ids without a token are left out.
    public func decode(_ ids: some Sequence<Int>, skipSpecial: Bool = true) -> String {
        var output = String.UnicodeScalarView()
        var run: [UInt8] = []
        for id in ids {
            if let byte = byteValues[id] {
                run.append(byte)
                continue
            }
            guard let piece = pieces[id], !(skipSpecial && specialIds.contains(id)) else { continue }
            output.append(contentsOf: decoded(run))
            run = []
            output.append(contentsOf: piece.unicodeScalars.map { $0 == wordMark ? " " : $0 })
        }
        output.append(contentsOf: decoded(run))
        if output.first == " " { output.removeFirst() }
        return String(output)
    }

    /// Whether `decode` leaves this id out: a picture's place, a special token, or one without text.
    func isSilent(_ id: Int) -> Bool { pieces[id] == nil || specialIds.contains(id) }

    /// Whether this id is a single byte, perhaps of a longer character.
    func isByte(_ id: Int) -> Bool { byteValues[id] != nil }

    /// A run of bytes as text: all of it, or a replacement character for each byte if one of them is wrong.
    private func decoded(_ bytes: [UInt8]) -> String.UnicodeScalarView {
        let text = String(decoding: bytes, as: UTF8.self)
        if text.utf8.elementsEqual(bytes) { return text.unicodeScalars }
        return String(repeating: "\u{FFFD}", count: bytes.count).unicodeScalars
    }

    /// The normalizer and the decoder must be Llama's, and there must be no pre-tokenizer.
    private static func checkSteps(_ file: JsonObject) throws {
        guard file.isAbsent("pre_tokenizer") else { throw file.wrong("pre_tokenizer", "null") }
        let normalizers = try file.object("normalizer").objects("normalizers")
        guard try normalizers.map({ try $0.text("type") }) == ["Prepend", "Replace"],
            try normalizers[0].text("prepend") == "▁", try normalizers[1].text("content") == "▁",
            try normalizers[1].object("pattern").text("String") == " "
        else { throw file.wrong("normalizer", "that of a Llama tokenizer") }
        let decoders = try file.object("decoder").objects("decoders")
        guard try decoders.map({ try $0.text("type") }) == ["Replace", "ByteFallback", "Fuse", "Strip"],
            try decoders[3].integer("start") == 1, try decoders[3].integer("stop") == 0
        else { throw file.wrong("decoder", "that of a Llama tokenizer") }
    }

    private static func bosId(_ folder: URL, _ added: AddedTokens, _ ids: [ExactText: Int]) throws -> Int? {
        let config = try Json.object(at: folder.appendingPathComponent("tokenizer_config.json"))
        guard try config.bool("add_bos_token", true) else { return nil }
        // Older files hold the token's flags as well.
        let token: String
        if case .object(let fields)? = config["bos_token"] {
            token = try JsonObject(fields: fields, source: config.source).text("content")
        } else {
            token = try config.text("bos_token")
        }
        let scalars = Array(token.unicodeScalars)
        guard let id = added.tokens.first(where: { $0.content == scalars })?.id ?? ids[ExactText(token)] else {
            throw config.wrong("bos_token", "in tokenizer.json")
        }
        return id
    }
}

/// What stands for a space, and for the start of a text, in the vocabulary.
private let wordMark: Unicode.Scalar = "▁"

private func text(_ scalars: [Unicode.Scalar]) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
}
