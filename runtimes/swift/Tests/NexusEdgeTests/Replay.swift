#if !canImport(Darwin)
import CoreML
import CoreVideo
import Foundation

@testable import NexusEdgeCore

/// Core ML's place taken by recorded calls: whatever is handed over must be, number for number and in the same order,
/// what Python handed to its evaluator. tests/runtimes/coreml_calls.py records.
final class Replay: StandInBackend, @unchecked Sendable {
    struct Output: Decodable {
        let name, dtype: String
        let shape: [Int]
        let offset: Int
    }

    private struct Table: Decodable { let calls: [String: [Output]] }

    /// Into their rows, as the Neural Engine does.
    private static let rowPadding = 32

    private let calls: [String: [Output]]
    private let data: Data
    private let manifest: String
    private let lock = NSLock()
    private var log: [String] = []
    private var failure: (any Error)?
    private var gate: (event: String, count: Int, opened: DispatchSemaphore)?

    /// - Parameter manifest: what each package says about its bundle
    init(_ folder: URL, manifest: String) throws {
        calls = try JSONDecoder().decode(
            Table.self, from: Data(contentsOf: folder.appendingPathComponent("calls.json"))
        ).calls
        data = try Data(contentsOf: folder.appendingPathComponent("calls.bin"))
        self.manifest = manifest
    }

    /// What happened so far: "compile head.mlpackage", "load head.mlmodelc main", "run head.mlmodelc main".
    var events: [String] { lock.withLock { log } }

    /// From now on every prediction fails.
    func fail(_ error: any Error) { lock.withLock { failure = error } }

    /// From now on predictions work again.
    func recover() { lock.withLock { failure = nil } }

    /// Holds the call that is the `count`th of its kind until the semaphore is signalled.
    func hold(_ event: String, _ count: Int) -> DispatchSemaphore {
        let opened = DispatchSemaphore(value: 0)
        lock.withLock { gate = (event, count, opened) }
        return opened
    }

    func compile(_ package: URL) async throws -> URL {
        note("compile \(package.lastPathComponent)")
        let place = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: place, withIntermediateDirectories: true)
        return place
    }

    func load(_ compiled: URL, _ function: String?, _ units: MLComputeUnits) throws -> [String: String] {
        guard FileManager.default.fileExists(atPath: compiled.path) else { throw StandInError("\(compiled.path) is missing") }
        note("load \(compiled.lastPathComponent) \(function ?? "main") \(units)")
        return ["nexus_edge.manifest_sha256": manifest]
    }

    func predict(
        _ compiled: URL, _ function: String?, _ input: any MLFeatureProvider, _ state: MLState?
    ) throws -> any MLFeatureProvider {
        let name = compiled.deletingPathExtension().lastPathComponent
        note("run \(name) \(function ?? "main")")
        if let failure = lock.withLock({ failure }) { throw failure }
        let key = try Self.key(name, function ?? "main", input, state)
        guard let outputs = calls[key.map { String(format: "%02x", $0) }.joined()] else {
            throw StandInError("\(name), \(function ?? "main"): nobody recorded a call with these numbers")
        }
        state?.standInHistory = key
        let arrays = try outputs.map { ($0.name, MLFeatureValue(multiArray: try array($0))) }
        return try MLDictionaryFeatureProvider(dictionary: Dictionary(uniqueKeysWithValues: arrays))
    }

    private func note(_ event: String) {
        let opened = lock.withLock { () -> DispatchSemaphore? in
            log.append(event)
            guard let gate, gate.event == event, log.count(where: { $0 == event }) == gate.count else { return nil }
            return gate.opened
        }
        opened?.wait()
    }

    private func array(_ output: Output) throws -> MLMultiArray {
        let types: [String: MLMultiArrayDataType] = ["float16": .float16, "float32": .float32]
        guard let type = types[output.dtype] else { throw StandInError("no outputs of type \(output.dtype)") }
        let array = MLMultiArray(standInShape: output.shape, dataType: type, rowPadding: Self.rowPadding)
        let row = (output.shape.last ?? 1) * type.standInBytes
        let rows = output.shape.reduce(1, *) * type.standInBytes / row
        array.withUnsafeMutableBytes { bytes, strides in
            let step = strides.count > 1 ? strides[strides.count - 2] * type.standInBytes : row
            for place in 0..<rows {
                let start = output.offset + place * row
                let target = UnsafeMutableRawBufferPointer(rebasing: bytes[place * step..<place * step + row])
                data.copyBytes(to: target, from: start..<start + row)
            }
        }
        return array
    }

    /// A hash of all that goes into a call, as the recording script computes it.
    private static func key(_ package: String, _ function: String, _ input: any MLFeatureProvider, _ state: MLState?)
        throws -> [UInt8]
    {
        var text = Array("\(package).mlpackage\n\(function)\n".utf8)
        for name in input.featureNames.sorted() {
            guard let array = input.featureValue(for: name)?.multiArrayValue else { throw StandInError("\(name): no array") }
            let sizes = array.shape.map(\.stringValue).joined(separator: ", ")
            text += Array("\(name) \(array.dataType) [\(sizes)]\n".utf8)
            text += array.standInBytes()
        }
        text += state?.standInHistory ?? []
        return Array(text.withUnsafeBytes(Sha256.digest).prefix(16))
    }
}

extension MLMultiArray {
    /// All numbers in row-major order. Inputs may be outputs of another call, with room between their rows.
    fileprivate func standInBytes() -> [UInt8] {
        let sizes = shape.map(\.intValue), steps = strides.map(\.intValue), size = dataType.standInBytes
        let rows = sizes.dropLast().reduce(1, *), row = (sizes.last ?? 1) * size
        let step = steps.count > 1 ? steps[steps.count - 2] * size : row
        return withUnsafeBytes { bytes in (0..<rows).flatMap { bytes[$0 * step..<$0 * step + row] } }
    }
}
#endif
