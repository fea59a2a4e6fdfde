import Foundation
import NexusEdgeCore
import Testing

@Suite struct ZeroShotTests {
    private let white = Result { try RgbImage(width: 3, height: 3, pixels: [UInt8](repeating: 255, count: 27)) }

    private func encoder(_ towers: FakeTowers) throws -> DualEncoder {
        let folder = try Goldens.temporaryFolder()
        try Data("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nlung\nheart\n".utf8).write(
            to: folder.appendingPathComponent("vocab.txt"))
        return DualEncoder(
            processor: try Goldens.biomedclip(folder, size: 3, contextLength: 16), backend: towers, logitScale: 10, textTower: "t")
    }

    @Test func aPictureIsComparedWithLabels() throws {
        let towers = FakeTowers(), encoder = try encoder(towers)
        let prompts = try PromptSet(labels: ["lung", "heart"], templates: ["{}", "{} on the left side"])
        let bank = try encoder.labelBank(prompts)
        #expect(towers.widths == [8, 8, 8, 8])
        let result = try encoder.classify(try white.get(), bank)
        let similarities: [Float] = [0.6, 0.8]
        #expect(result.similarities == similarities)
        #expect(result.best == "heart")
        // Two classes: a logistic of the difference, 10 * 0.2.
        let expected = Float(1 / (1 + exp(-2.0)))
        #expect(abs(result.probabilities[1] - expected) < 1e-6)
        #expect(result.top(1).map(\.label) == ["heart"])
        #expect(result.top().map(\.label) == ["heart", "lung"])
    }

    @Test func theShortestFunctionThatFitsIsTaken() throws {
        let towers = FakeTowers(), encoder = try encoder(towers)
        _ = try encoder.embed("a b c d e f")
        _ = try encoder.embed("a b c d e f g")
        _ = try encoder.embed(String(repeating: "a ", count: 40))
        #expect(towers.widths == [8, 16, 16])
        towers.textLengths = []
        #expect(throws: NexusEdgeError.self) { try encoder.embed("a") }
    }

    @Test func templatesAreAveragedAsUnitVectors() throws {
        let prompts = try PromptSet(labels: ["a", "b"], templates: ["x {}", "{} y"])
        #expect(prompts.prompts.joined(separator: ", ") == "x a, x b, a y, b y")
        let rows = try prompts.ensemble([[10, 0], [0, 1], [0, 0.5], [0, 3]])
        let diagonal = Float(0.5).squareRoot()
        #expect(abs(rows[0][0] - diagonal) < 1e-6)
        #expect(abs(rows[0][1] - diagonal) < 1e-6)
        #expect(rows[1] == [0, 1])
        #expect(throws: NexusEdgeError.self) { try prompts.ensemble([[1]]) }
    }

    @Test(arguments: [
        ([], ["{}"]), (["a", "a"], ["{}"]), ([" "], ["{}"]), (["a"], []), (["a"], ["no place"]), (["a"], ["{} {}"]),
    ] as [([String], [String])])
    func labelsAndTemplatesThatCannotBeUsedAreRefused(labels: [String], templates: [String]) {
        #expect(throws: NexusEdgeError.self) { try PromptSet(labels: labels, templates: templates) }
    }

    private static let header = #"""
        {"__metadata__": {"format": "nexus-edge label bank 2", "labels": "[\"a\", \"b\"]", "templates": "[\"{}\"]",
        "text_tower": "t", "model": "m", "weights": "real",
        "sha256": "d19c4d710cef578e1d75afbb03a298e0190bd5115e85773fabd57767123808a8"},
        "embeddings": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}
        """#

    /// A file as `nexus-edge bank` writes it.
    private func bank(_ rows: [Float], header: String? = nil, cut: Int = 0) throws -> URL {
        let header = header ?? Self.header
        var data = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        data.append(Data(header.utf8))
        rows.withUnsafeBytes { data.append(contentsOf: $0) }
        let url = try Goldens.temporaryFolder().appendingPathComponent("labels.bank")
        try data.dropLast(cut).write(to: url)
        return url
    }

    @Test func aBankIsReadFromItsFile() throws {
        let bank = try LabelBank(contentsOf: try bank([1, 0, 0.6, 0.8]))
        let rows: [[Float]] = [[1, 0], [0.6, 0.8]]
        #expect(bank.labels == ["a", "b"])
        #expect(bank.embeddings == rows)
        #expect(bank.textTower == "t")
        let encoder = try encoder(FakeTowers())
        #expect(try encoder.classify(try white.get(), bank).similarities == [1, 0.6])
        let other = try LabelBank(prompts: bank.prompts, embeddings: bank.embeddings, textTower: "other")
        #expect(throws: NexusEdgeError.self) { try encoder.classify(try white.get(), other) }
        let wide = try LabelBank(prompts: bank.prompts, embeddings: [[1, 0, 0], [0, 1, 0]])
        #expect(throws: NexusEdgeError.self) { try encoder.classify(try white.get(), wide) }
    }

    @Test func aDamagedBankIsRefused() throws {
        let damaged: [URL] = try [
            bank([1, 0, 0.6, 0.8], cut: 1), bank([1, 0, 0.6, 0.9]), bank([1, 0, .nan, 0]), bank([1, 0, 0, 1], cut: 400),
            bank([1, 0, 0, 1], header: "{}"), bank([1, 0, 0, 1], header: "x"), URL(fileURLWithPath: "/no/such.bank"),
            bank([0, 1, 0.6, 0.8]), bank([0.6, 0.8, 1, 0]),  // of length 1, and not what the hash is of
            bank([1, 0, 0.6, 0.8], header: Self.header.replacingOccurrences(of: "bank 2", with: "bank 1")),
            bank([1, 0, 0.6, 0.8], header: Self.header.replacingOccurrences(of: "\"m\"", with: "\"n\"")),
        ]
        for url in damaged {
            #expect(throws: NexusEdgeError.self) { try LabelBank(contentsOf: url) }
        }
    }
}
