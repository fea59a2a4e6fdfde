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

    /// A folder as a bundle's `processor` is: the golden BiomedCLIP's tokenizer and config.json.
    static func biomedclip() throws -> URL {
        let golden = folder.appendingPathComponent("biomedclip_tiny"), copy = try temporaryFolder()
        for (from, to) in [("open_clip_config.json", "config.json"), ("tokenizer/tokenizer.json", "tokenizer.json")] {
            try FileManager.default.copyItem(
                at: golden.appendingPathComponent(from), to: copy.appendingPathComponent(to))
        }
        return copy
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
