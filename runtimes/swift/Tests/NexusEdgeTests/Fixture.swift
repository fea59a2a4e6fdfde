#if !canImport(Darwin)
import CoreML
import Foundation

@testable import NexusEdge

/// A bundle without its packages, whose calls are recorded.
@dynamicMemberLookup
struct Fixture {
    let expected: Expected
    let replay: Replay
    /// Compiled packages go to a folder of this test's own.
    var options = SessionOptions()

    /// Takes Core ML's place from here on.
    init(_ name: String) throws {
        expected = try Expected(name)
        replay = try Replay(expected.folder, manifest: Manifest(folder: expected.folder).model.identity)
        let temporary = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        options.compiledModels = try CompiledModels(folder: temporary)
        StandIn.backend = replay
    }

    subscript<Value>(dynamicMember path: KeyPath<Expected, Value>) -> Value { expected[keyPath: path] }
}

/// All pieces of a stream.
func text(_ stream: AsyncThrowingStream<String, any Error>) async throws -> String {
    var text = ""
    for try await piece in stream { text += piece }
    return text
}
#endif
