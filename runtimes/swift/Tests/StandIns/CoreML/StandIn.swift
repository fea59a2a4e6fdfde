import Foundation

/// What a test puts in Core ML's place.
public protocol StandInBackend: Sendable {
    /// The compiled model's folder, as `MLModel.compileModel(at:)` returns it: the caller may move it away.
    func compile(_ package: URL) async throws -> URL
    /// - Returns: the package's user-defined metadata
    func load(_ compiled: URL, _ function: String?, _ units: MLComputeUnits) throws -> [String: String]
    func predict(_ compiled: URL, _ function: String?, _ input: any MLFeatureProvider, _ state: MLState?) throws
        -> any MLFeatureProvider
}

public enum StandIn {
    /// Of the running test; a task local would be tidier, but predictions run on a queue of their own.
    nonisolated(unsafe) public static var backend: any StandInBackend = Nothing()
}

public struct StandInError: LocalizedError {
    public let errorDescription: String?

    public init(_ description: String) { errorDescription = description }
}

private struct Nothing: StandInBackend {
    private let error = StandInError("this system has no Core ML")

    func compile(_ package: URL) async throws -> URL { throw error }

    func load(_ compiled: URL, _ function: String?, _ units: MLComputeUnits) throws -> [String: String] { throw error }

    func predict(_ compiled: URL, _ function: String?, _ input: any MLFeatureProvider, _ state: MLState?) throws
        -> any MLFeatureProvider
    {
        throw error
    }
}
