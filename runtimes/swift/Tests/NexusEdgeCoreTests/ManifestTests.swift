import Foundation
import NexusEdgeCore
import Testing

@Suite struct ManifestTests {
    private static func graph(_ file: String, role: String, ios: Int = 18, layers: [Int]? = nil) -> [String: Any] {
        let tensor: [String: Any] = ["name": "hidden_states", "dtype": "float16", "shape": [1, 64, 8]]
        return [
            "file": "coreml/\(file).mlpackage/Data/model", "inputs": [tensor], "outputs": [tensor], "scheme": "int8",
            "program": [
                "package": "coreml/\(file).mlpackage", "function": "main", "role": role, "part_of": role,
                "layers": layers.map { $0 as Any } ?? NSNull(), "ios": ios, "macos": ios - 3, "compute_units": "cpuOnly",
                "note": "", "images": [String](), "states": [tensor], "identity": "ab",
            ] as [String: Any],
        ]
    }

    private static var frame: [String: Any] { ["before": "<|user|>\n", "between": "", "after": "<|end|>\n"] }

    private static var facts: [String: Any] { [
        "kind": "vlm", "merge": "replace", "stop_ids": [2, 7],
        "images": [
            "kind": "hd_crops", "mean": [0.5, 0.5, 0.5], "std": [1, 1, 1], "resample": "bilinear", "view": 336,
            "most_crops": 4, "tokens_per_side": 12, "padding": 255, "overview_resample": "bicubic",
        ] as [String: Any],
        "layout": ["order": ["crops", "separator", "overview"], "row_ends": ["crops", "overview"]],
        "tokenizer": ["kind": "bpe", "special": ["<|user|>": 5, "<|end|>": 7]] as [String: Any],
        "chat": [
            "kind": "turns", "frames": ["user": frame], "reply": "<|assistant|>\n", "image": "{image}\n",
            "images_first": false,
        ] as [String: Any],
        "image_place": ["kind": "tags", "text": "<|image_{number}|>"],
        "positions": ["kind": "longrope", "limit": 1024] as [String: Any],
    ] }

    private static var whole: [String: Any] { [
        "format_version": 3, "later": "ignored", "model_type": "phi3_v", "name": "n", "toolkit_version": "1",
        "context_length": 64, "dual_encoder": NSNull(), "facts": facts,
        "source": ["checkpoint": "/home/somebody/mine", "revision": NSNull(), "weights": "real", "license": "mit"]
            as [String: Any],
        "files": [
            "coreml/d2.mlpackage/Data/model": ["size": 3], "coreml/d2.mlpackage/weights": ["size": 4],
            "coreml/d2": ["size": 8],
        ],
        "graphs": ["coreml": [
            "d2": graph("d2", role: "decoder", layers: [2, 4]), "d1": graph("d1", role: "decoder", layers: [0, 2]),
            "t": graph("t", role: "text"), "t17": graph("t17", role: "text", ios: 17),
        ]],
    ] }

    private func read(_ content: [String: Any]) throws -> Manifest {
        let folder = try Goldens.temporaryFolder()
        try JSONSerialization.data(withJSONObject: content).write(to: folder.appendingPathComponent("manifest.json"))
        return try Manifest(folder: folder)
    }

    @Test func everythingIsRead() throws {
        let manifest = try read(Self.whole)
        #expect(manifest.model.weights == "real" && manifest.model.revision == nil)
        #expect(manifest.model.source == "mine", "where it lies on another computer is nobody's business")
        #expect(manifest.model.identity == "ab" && manifest.logitScale == nil && manifest.contextLength == 64)
        guard case .vlm(let facts) = manifest.facts else { throw NexusEdgeError.input("facts of another kind") }
        #expect(facts.mostCrops == 4 && facts.ropeLimit == 1024 && facts.stopIds == [2, 7] && !facts.globalFirst)
        let package = manifest.packages(role: "decoder", ios: 18)[1]
        #expect(package.computeUnits == .cpuOnly && package.macos == 15 && package.bytes == 7)
        #expect(package.file == "d2.mlpackage" && package.path == "coreml/d2.mlpackage" && package.layers == 2..<4)
        let input = try package.function(named: "main").input("hidden_states")
        #expect(input.shape == [1, 64, 8] && input.count == 512 && !input.isImage)
        #expect(throws: NexusEdgeError.self) { try package.function(named: "decode") }
        #expect(throws: NexusEdgeError.self) { try package.functions[0].input("x") }
    }

    @Test func theNewestPackagesThatASystemLoadsAreTakenInOrder() throws {
        let manifest = try read(Self.whole)
        #expect(manifest.packages(role: "decoder", ios: 18).map(\.file) == ["d1.mlpackage", "d2.mlpackage"])
        #expect(manifest.packages(role: "text", ios: 19).map(\.file) == ["t.mlpackage"])
        #expect(manifest.packages(role: "text", ios: 17).map(\.file) == ["t17.mlpackage"])
        #expect(manifest.packages(role: "decoder", ios: 17).isEmpty)
    }

    @Test(arguments: ["format_version", "facts", "graphs", "files", "source", "name"])
    func whatIsMissingIsNamed(key: String) {
        var content = Self.whole
        content[key] = nil
        #expect { try read(content) } throws: { ($0 as? NexusEdgeError)?.message.contains(key) == true }
    }

    @Test func theFormatBeforeIsRefused() {
        var content = Self.whole
        content["format_version"] = 2
        #expect { try read(content) } throws: { ($0 as? NexusEdgeError)?.message.contains("export the bundle again") == true }
    }

    /// What another runtime may compute, and this one does not.
    @Test(arguments: [
        ("images", "kind", "smart_resize"), ("images", "resample", "bicubic"), ("chat", "kind", "jinja"),
        ("tokenizer", "kind", "word_pieces"), ("positions", "kind", "mrope"), ("image_place", "kind", "token"),
    ])
    func aWordThatIsNotComputedHereIsNamed(part: String, key: String, word: String) throws {
        var content = Self.whole, facts = Self.facts
        var changed = try #require(facts[part] as? [String: Any])
        changed[key] = word
        facts[part] = changed
        content["facts"] = facts
        #expect { try read(content) } throws: { ($0 as? NexusEdgeError)?.message.contains("\(key) is \(word)") == true }
    }

    @Test func aLayoutThatIsNotComputedHereIsNamed() {
        var content = Self.whole, facts = Self.facts
        facts["layout"] = ["order": ["overview", "crops"], "row_ends": ["crops", "overview"]]
        content["facts"] = facts
        #expect { try read(content) } throws: {
            ($0 as? NexusEdgeError)?.message.contains("order is overview, crops") == true
        }
    }

    @Test(arguments: [
        ("package", "../x.mlpackage"), ("compute_units", "gpu"), ("layers", [3, 3]), ("ios", 1.5), ("role", "ear"),
        ("identity", "another"),
    ] as [(String, any Sendable)])
    func aWrongPackageIsRefused(key: String, value: any Sendable) throws {
        var content = Self.whole, graph = Self.graph("p", role: "head")
        var program = try #require(graph["program"] as? [String: Any])
        program[key] = value
        graph["program"] = program
        content["graphs"] = ["coreml": ["p": graph, "q": Self.graph("q", role: "head")]]
        #expect(throws: NexusEdgeError.self) { try read(content) }
    }
}
