import Foundation

/// BERT's WordPiece (Devlin et al. 2018) between [CLS] and [SEP], behind open_clip's cleaning.
struct WordPieceTokenizer: Sendable {
    /// The text tower does not look at this id.
    static let padId: Int32 = 0

    private let ids: [ExactText: Int]
    private let added: AddedTokens
    private let normalizer: BertNormalizer
    private let unknown, cls, sep: Int
    private let longestWord: Int
    /// Bytes of the longest piece, beyond which there is nothing to look up.
    private let longestPiece: Int
    private static let continued = Array("##".utf8)

    /// Reads tokenizer.json, or else vocab.txt with tokenizer_config.json; throws `.bundle`.
    init(folder: URL) throws {
        let url = folder.appendingPathComponent("tokenizer.json")
        let source = FileManager.default.fileExists(atPath: url.path)
            ? try WordPieceFile(tokenizer: Json.object(at: url)) : try WordPieceFile(vocabulary: folder)
        (ids, added, normalizer) = (source.ids, source.added, source.normalizer)
        longestWord = source.longestWord
        longestPiece = ids.keys.map(\.bytes.count).max() ?? 0
        func id(_ token: String) throws -> Int {
            guard let id = source.id(of: token) else {
                throw NexusEdgeError.bundle("\(folder.path): the tokenizer has no \(token); it is no BERT's")
            }
            return id
        }
        (unknown, cls, sep) = (try id("[UNK]"), try id("[CLS]"), try id("[SEP]"))
        guard try id("[PAD]") == Int(Self.padId) else {
            throw NexusEdgeError.bundle("\(folder.path): [PAD] has another id than \(Self.padId); it is no BERT's")
        }
    }

    /// Ids of a whole text, with [CLS] and [SEP].
    func encode(_ text: String) -> [Int32] {
        var result = [cls]
        for piece in added.split(Array(CleanText.clean(text).unicodeScalars)) {
            switch piece {
            case .token(let id): result.append(id)
            case .text(let scalars):
                for word in normalizer.words(scalars) { result += encode(word: word) }
            }
        }
        return (result + [sep]).map { Int32($0) }
    }

    /// The longest pieces that a word begins with, one after the other, or [UNK] for the whole word.
    private func encode(word: [Unicode.Scalar]) -> [Int] {
        guard word.count <= longestWord else { return [unknown] }
        var result: [Int] = []
        var start = 0
        while start < word.count {
            var bytes = start == 0 ? [] : Self.continued
            var found: (id: Int, stop: Int)?
            for place in start..<word.count {
                bytes += UTF8.encode(word[place])!
                if bytes.count > longestPiece { break }
                if let id = ids[ExactText(bytes: bytes)] { found = (id, place + 1) }
            }
            guard let found else { return [unknown] }
            result.append(found.id)
            start = found.stop
        }
        return result
    }
}

/// What a tokenizer's files say.
struct WordPieceFile {
    let ids: [ExactText: Int]
    let added: AddedTokens
    let normalizer: BertNormalizer
    let longestWord: Int

    func id(of token: String) -> Int? {
        let scalars = Array(token.unicodeScalars)
        return added.tokens.first { $0.content == scalars }?.id ?? ids[ExactText(token)]
    }

    init(tokenizer file: JsonObject) throws {
        let model = try file.object("model"), normalizer = try file.object("normalizer")
        guard try model.text("type") == "WordPiece", try model.text("continuing_subword_prefix") == "##" else {
            throw file.wrong("model", "a WordPiece with ##")
        }
        guard try normalizer.text("type") == "BertNormalizer",
            try file.object("pre_tokenizer").text("type") == "BertPreTokenizer"
        else { throw file.wrong("normalizer or pre_tokenizer", "BERT's") }
        guard case .object(let vocabulary)? = model["vocab"] else { throw model.wrong("model.vocab", "an object") }
        ids = try vocabulary.mapValues { value in
            guard case .number(let number) = value, let id = Int(exactly: number) else {
                throw model.wrong("an id of model.vocab", "a whole number")
            }
            return id
        }
        added = try AddedTokens(file)
        longestWord = try model.positive("max_input_chars_per_word")
        let lowers = try normalizer.bool("lowercase", true)
        self.normalizer = BertNormalizer(
            cleans: try normalizer.bool("clean_text", true),
            splitsChinese: try normalizer.bool("handle_chinese_chars", true), lowers: lowers,
            stripsAccents: try normalizer.bool("strip_accents", lowers))
    }

    /// The line's number is the id; the options are those of tokenizer_config.json, by default BERT's.
    init(vocabulary folder: URL) throws {
        let url = folder.appendingPathComponent("vocab.txt")
        guard let data = try? Data(contentsOf: url) else {
            throw NexusEdgeError.bundle(
                "\(folder.path) has neither tokenizer.json nor vocab.txt; export the bundle again")
        }
        var lines = data.split(separator: 10, omittingEmptySubsequences: false).map { ExactText(bytes: Array($0)) }
        if lines.last?.bytes.isEmpty == true { lines.removeLast() }
        ids = Dictionary(zip(lines, lines.indices)) { $1 }
        let special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
        let ids = ids
        added = AddedTokens(special: special.compactMap { token in ids[ExactText(token)].map { (token, $0) } })
        longestWord = 100
        let settings = folder.appendingPathComponent("tokenizer_config.json")
        let config = FileManager.default.fileExists(atPath: settings.path)
            ? try Json.object(at: settings) : JsonObject(fields: [:], source: settings.path)
        let lowers = try config.bool("do_lower_case", true)
        normalizer = BertNormalizer(
            cleans: true, splitsChinese: try config.bool("tokenize_chinese_chars", true), lowers: lowers,
            stripsAccents: try config.bool("strip_accents", lowers))
    }
}
