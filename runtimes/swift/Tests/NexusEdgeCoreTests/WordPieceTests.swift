import Foundation
import NexusEdgeCore
import Testing

@Suite struct WordPieceTests {
    /// The ids of every golden text, as open_clip made them: `text_ids` int64 [texts, 256] of a safetensors file.
    @Test func idsAreTheOriginals() throws {
        let cases = try #require(try Goldens.json("biomedclip_tiny/cases.json") as? [String: Any])
        let texts = try #require(cases["texts"] as? [String])
        let data = try Data(contentsOf: Goldens.folder.appendingPathComponent("biomedclip_tiny/inputs.safetensors"))
        let size = Int(data.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
        let header = try #require(try JSONSerialization.jsonObject(with: data[8..<8 + size]) as? [String: Any])
        let tensor = try #require(header["text_ids"] as? [String: Any])
        let start = 8 + size + (try #require(tensor["data_offsets"] as? [Int]))[0]
        let processor = try Goldens.biomedclip()
        for (row, text) in texts.enumerated() where !text.contains("Ã") {  // the wrong character set is not repaired
            let ids: [Int64] = data.withUnsafeBytes { bytes in
                (0..<256).map { bytes.loadUnaligned(fromByteOffset: start + 8 * (256 * row + $0), as: Int64.self) }
            }
            var ours: [Int64] = processor.ids(text).map { Int64($0) }
            ours.append(contentsOf: Array(repeating: 0, count: 256 - ours.count))
            #expect(ours == ids, "\(text.prefix(80))")
        }
    }

    @Test func longTextsAreCutAndStillEnd() throws {
        let processor = try Goldens.biomedclip(contextLength: 8)
        let whole = try Goldens.biomedclip(contextLength: 100).ids("one two three four five six seven")
        let cut: [Int32] = Array(whole.prefix(7)) + Array(whole.suffix(1))
        #expect(processor.ids("one two three four five six seven") == cut)
        #expect(processor.countTokens("one two three four five six seven") == whole.count)
        #expect(whole.count > 8)
    }

    @Test(arguments: [
        (" chest  X-ray\n", "chest X-ray"), ("5 &micro;m &lt; &#956; &amp;lt;", "5 µm < μ <"),
        ("“curly” ‘q’", "\"curly\" 'q'"),
        ("ﬁbre ＡＢ", "fibre AB"), ("a\u{0}b\u{FEFF}c", "abc"), ("e\u{301}", "é"), ("\u{1B}[31mred\u{1B}[0m", "red"),
        ("a\u{2028}b\u{1C}c", "a bc"), ("R&D; A&B", "R&D; A&B"), ("&notit; &copy2", "¬it; ©2"),
    ] as [(String, String)])
    func textsAreCleaned(text: String, cleaned: String) {
        #expect(CleanText.clean(text).unicodeScalars.elementsEqual(cleaned.unicodeScalars))
    }

    @Test func aVocabularyOfLinesServesToo() throws {
        let folder = try Goldens.temporaryFolder()
        try Data("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nab\n##c\na\n$\n".utf8).write(
            to: folder.appendingPathComponent("vocab.txt"))
        let processor = try Goldens.biomedclip(folder, size: 224, contextLength: 20)
        let ids: [Int32] = [2, 5, 6, 1, 4, 7, 8, 3], tooLong: [Int32] = [2, 1, 3]
        #expect(processor.ids("ÁBC abd [MASK] a$") == ids)
        #expect(processor.ids(String(repeating: "a", count: 101)) == tooLong)
    }
}
