import Foundation
import NexusEdgeCore

/// Recordings of the original models, which the whole repository is tested with.
enum Goldens {
    static let repository = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    static let folder = repository.appendingPathComponent("tests/golden")
    /// A small model of the Phi-3-Vision family that comes with the project.
    static let tiny = repository.appendingPathComponent("nexus_edge/assets/tiny_phi3_v")
    /// The files of Phi-3-Vision on the hub; nil where they are not, since they are Microsoft's.
    static let real: URL? = {
        let folder = repository.deletingLastPathComponent().appendingPathComponent("shared/data/phi3_vision_hub_files")
        return FileManager.default.fileExists(atPath: folder.path + "/tokenizer.json") ? folder : nil
    }()

    static func json(_ path: String) throws -> Any {
        try JSONSerialization.jsonObject(with: try Data(contentsOf: folder.appendingPathComponent(path)))
    }

    static let mean = [0.48145466, 0.4578275, 0.40821073], deviation = [0.26862954, 0.26130258, 0.27577711]

    /// Phi-3-Vision's chat template.
    static let chat = ChatTemplate(turns, control: control)
    private static let control = ["<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>", "</s>"]
    private static let turns = Turns(
        frames: Dictionary(uniqueKeysWithValues: ChatMessage.Role.allCases.map {
            ($0, Turns.Frame(before: "<|\($0.rawValue)|>\n", after: "<|end|>\n"))
        }), reply: "<|assistant|>\n", image: "{image}\n")

    /// With facts as an export writes them.
    static func phi3(_ folder: URL = tiny, mostCrops: Int = 1, stopIds: [Int] = []) throws -> Phi3Processor {
        let tokenizer = try Phi3Tokenizer(folder: folder, control: control)
        let stops = ["<|end|>", "<|assistant|>", "<|endoftext|>", "</s>"].compactMap(tokenizer.id(of:))
        let facts = VlmFacts(
            mostCrops: mostCrops, mean: mean, deviation: deviation, turns: turns, control: control,
            stopIds: stops + stopIds)
        return try Phi3Processor(folder: folder, facts: facts)
    }

    /// The golden BiomedCLIP.
    static func biomedclip(contextLength: Int = 256) throws -> BiomedClipProcessor {
        try biomedclip(
            folder.appendingPathComponent("biomedclip_tiny/tokenizer"), size: 224, contextLength: contextLength)
    }

    static func biomedclip(_ folder: URL, size: Int, contextLength: Int) throws -> BiomedClipProcessor {
        let facts = DualEncoderFacts(imageSize: size, mean: mean, deviation: deviation)
        return try BiomedClipProcessor(folder: folder, facts: facts, contextLength: contextLength)
    }

    static func temporaryFolder() throws -> URL {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        return folder
    }
}

/// SHA-256 of the elements' bytes, in hexadecimal.
func sha256<T>(_ values: [T]) -> String {
    values.withUnsafeBytes(Sha256.digest).map { String(format: "%02x", Int($0)) }.joined()
}
