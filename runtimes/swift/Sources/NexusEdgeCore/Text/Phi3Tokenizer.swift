import Foundation

/// The Llama-style tokenizer of the Phi-3 models: ids and back with the bundle's own tokenizer.json.
public struct Phi3Tokenizer: Sendable {
    /// The token that begins each text; nil where the tokenizer has none.
    public let bosId: Int?

    private let added: AddedTokens
    /// The tokens that text never becomes, and the others, which a fine-tune added to its vocabulary as words.
    private let control, words: AddedTokens
    private let model: BytePairs
    private let pieces: [Int: String]
    private let specialIds: Set<Int>
    private let byteValues: [Int: UInt8]

    /// Reads tokenizer.json and tokenizer_config.json; throws `.bundle` if one is missing, wrong, or of another kind
    /// than what is computed here.
    ///
    /// - Parameter control: tokens that are control although the file does not call them special
    public init(folder: URL, control: [String] = []) throws {
        let file = try Json.object(at: folder.appendingPathComponent("tokenizer.json"))
        try Self.checkSteps(file)
        added = try AddedTokens(file)
        let named = Set(control.map(ExactText.init))
        let isControl = { (token: AddedTokens.Token) in token.special || named.contains(ExactText(text(token.content))) }
        self.control = added.filter(isControl)
        words = added.filter { !isControl($0) }
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
    ///
    /// A control token in it becomes that token's id, as in the original: what people write goes into segments.
    public func encode(_ text: String, addBos: Bool = true) -> [Int] {
        bos(addBos) + encode(Array(text.unicodeScalars), added)
    }

    /// As `encode` of all segments together, but only `.control` gives the id of a control token.
    ///
    /// Throws `.prompt` for a control token that the tokenizer does not have.
    public func encode(_ segments: [Prompt.Segment], addBos: Bool = true) throws -> [Int] {
        var ids = bos(addBos)
        var text: [Unicode.Scalar] = [], stripsLeft = false
        for segment in segments {
            switch segment {
            case .text(let words): text += words.unicodeScalars
            case .control(let name):
                guard let id = id(of: name) else {
                    throw NexusEdgeError.prompt(
                        "the model's tokenizer has no \(name); leave out what needs it")
                }
                let scalars = Array(name.unicodeScalars)
                let token = control.tokens.first { $0.content == scalars }
                let before = stripped(text, left: stripsLeft, right: token?.stripsLeft ?? false)
                ids += encode(before, words) + [id]
                (text, stripsLeft) = ([], token?.stripsRight ?? false)
            }
        }
        return ids + encode(stripped(text, left: stripsLeft, right: false), words)
    }

    /// Text of `ids`; negative ids (places of images) and ids without a token are left out.
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

    /// Whether `decode` leaves this id out: an image's place, a special token, or one without text.
    func isSilent(_ id: Int) -> Bool { pieces[id] == nil || specialIds.contains(id) }

    /// Whether this id is a single byte, perhaps of a longer character.
    func isByte(_ id: Int) -> Bool { byteValues[id] != nil }

    private func bos(_ wanted: Bool) -> [Int] { wanted ? [bosId].compactMap { $0 } : [] }

    /// Ids of a text in which these added tokens are found.
    private func encode(_ text: [Unicode.Scalar], _ found: AddedTokens) -> [Int] {
        found.split(text).flatMap { piece in
            switch piece {
            case .token(let id): [id]
            // Each stretch of text gets a mark of its own at its start, and one for each space.
            case .text(let scalars): model.encode([wordMark] + scalars.map { $0 == " " ? wordMark : $0 })
            }
        }
    }

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

/// Without the white space that the tokens beside it take.
private func stripped(_ text: [Unicode.Scalar], left: Bool, right: Bool) -> [Unicode.Scalar] {
    var rest = text[...]
    if left { rest = rest.drop(while: \.properties.isWhitespace) }
    while right, rest.last?.properties.isWhitespace == true { rest.removeLast() }
    return Array(rest)
}

private func text(_ scalars: [Unicode.Scalar]) -> String {
    var view = String.UnicodeScalarView()
    view.append(contentsOf: scalars)
    return String(view)
}
