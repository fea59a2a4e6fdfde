import Foundation
import NexusEdgeCore
import Testing

@Suite struct MetadataTests {
    private static func package(_ file: String, role: String, ios: Int = 18) -> [String: Any] {
        let tensor: [String: Any] = ["name": "hidden_states", "dtype": "float16", "shape": [1, 64, 8], "kind": "array"]
        let function: [String: Any] = [
            "name": "main", "graph": file, "inputs": [tensor], "outputs": [tensor], "states": [tensor],
        ]
        return [
            "file": "\(file).mlpackage", "name": file, "role": role, "graph": role, "layers": NSNull(), "ios": ios,
            "macos": ios - 3, "compute_units": "cpuOnly", "note": "", "bytes": 1, "functions": [function], "new": 1,
        ]
    }

    private static var whole: [String: Any] { [
        "format": 2, "later": "ignored",
        "model": [
            "model_type": "phi3_v", "name": "n", "source": "tiny", "revision": NSNull(), "weights": "trained-tiny",
            "license": "mit", "toolkit_version": "1", "manifest_sha256": "ab",
        ],
        "generation": [
            "hidden_size": 8, "vocab_size": 9, "context": 64, "prompt_tokens": 64, "rope_limit": NSNull(),
            "crops_per_call": [1, 4], "cache_bytes": 10, "stop_ids": [2, 7],
        ],
        "zero_shot": NSNull(),
        "packages": [
            package("d1", role: "decoder"), package("d2", role: "decoder"), package("t", role: "text"),
            package("t17", role: "text", ios: 17),
        ],
    ] }

    private func read(_ content: [String: Any]) throws -> CoreMLMetadata {
        let folder = try Goldens.temporaryFolder()
        try JSONSerialization.data(withJSONObject: content).write(to: folder.appendingPathComponent("metadata.json"))
        return try CoreMLMetadata(folder: folder)
    }

    @Test func everythingIsRead() throws {
        let metadata = try read(Self.whole)
        #expect(metadata.model.weights == "trained-tiny" && metadata.model.revision == nil)
        #expect(metadata.generation?.cropsPerCall == [1, 4] && metadata.generation?.ropeLimit == nil)
        #expect(metadata.generation?.stopIds == [2, 7])
        #expect(metadata.zeroShot == nil)
        let package = metadata.packages(role: "decoder", ios: 18)[0]
        #expect(package.computeUnits == .cpuOnly && package.macos == 15)
        let input = try package.function(named: "main").input("hidden_states")
        #expect(input.shape == [1, 64, 8] && input.count == 512 && !input.isImage)
        #expect(throws: NexusEdgeError.self) { try package.function(named: "decode") }
        #expect(throws: NexusEdgeError.self) { try package.functions[0].input("x") }
    }

    @Test func theNewestPackagesThatASystemLoadsAreTakenInOrder() throws {
        let metadata = try read(Self.whole)
        #expect(metadata.packages(role: "decoder", ios: 18).map(\.name) == ["d1", "d2"])
        #expect(metadata.packages(role: "text", ios: 19).map(\.name) == ["t"])
        #expect(metadata.packages(role: "text", ios: 17).map(\.name) == ["t17"])
        #expect(metadata.packages(role: "decoder", ios: 17).isEmpty)
    }

    @Test(arguments: ["format", "model", "packages"]) func whatIsMissingIsNamed(key: String) {
        var content = Self.whole
        content[key] = nil
        #expect { try read(content) } throws: { ($0 as? NexusEdgeError)?.message.contains(key) == true }
    }

    @Test(arguments: [
        ("format", 1), ("packages", [String]()), ("generation", 3), ("model", ["name": "n"]),
    ] as [(String, any Sendable)])
    func whatIsWrongIsRefused(key: String, value: any Sendable) {
        var content = Self.whole
        content[key] = value
        #expect(throws: NexusEdgeError.self) { try read(content) }
    }

    @Test(arguments: [
        ("file", "../x.mlpackage"), ("compute_units", "gpu"), ("functions", [String]()), ("layers", [3, 3]),
        ("ios", 1.5),
    ] as [(String, any Sendable)])
    func aWrongPackageIsRefused(key: String, value: any Sendable) {
        var content = Self.whole, package = Self.package("p", role: "head")
        package[key] = value
        content["packages"] = [package]
        #expect(throws: NexusEdgeError.self) { try read(content) }
    }
}
