import Foundation

public enum MLComputeUnits: Int, Sendable {
    case cpuOnly = 0
    case cpuAndGPU = 1
    case all = 2
    case cpuAndNeuralEngine = 3
}

public class MLModelConfiguration: NSObject {
    public var computeUnits: MLComputeUnits = .all
    public var functionName: String?
}

public class MLPredictionOptions: NSObject {
    public var outputBackings: [String: Any] = [:]
}

/// `withMultiArray(for:_:)` and what else Apple's offers is left out: nothing here reads a cache.
public final class MLState: NSObject, @unchecked Sendable {
    /// What was done to it, for whoever replays recorded calls.
    public var standInHistory: [UInt8] = []
}

public struct MLModelMetadataKey: Hashable, Sendable {
    public let rawValue: String
    public static let creatorDefinedKey = MLModelMetadataKey(rawValue: "MLModelCreatorDefinedKey")
}

public class MLModelDescription: NSObject {
    public let metadata: [MLModelMetadataKey: Any]

    init(userDefined: [String: String]) { metadata = [.creatorDefinedKey: userDefined] }
}

public class MLModel: NSObject {
    public let configuration: MLModelConfiguration
    public let modelDescription: MLModelDescription
    private let url: URL

    public class func compileModel(at url: URL) async throws -> URL {
        try await StandIn.backend.compile(url)
    }

    /// Apple's is a convenience initializer made from a factory method.
    public init(contentsOf url: URL, configuration: MLModelConfiguration) throws {
        let userDefined = try StandIn.backend.load(url, configuration.functionName, configuration.computeUnits)
        modelDescription = MLModelDescription(userDefined: userDefined)
        (self.url, self.configuration) = (url, configuration)
    }

    public func makeState() -> MLState { MLState() }

    public func prediction(from input: any MLFeatureProvider) throws -> any MLFeatureProvider {
        try StandIn.backend.predict(url, configuration.functionName, input, nil)
    }

    public func prediction(from input: any MLFeatureProvider, using state: MLState) throws -> any MLFeatureProvider {
        try StandIn.backend.predict(url, configuration.functionName, input, state)
    }

    public func prediction(
        from input: any MLFeatureProvider, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider {
        try StandIn.backend.predict(url, configuration.functionName, input, nil)
    }

    public func prediction(
        from input: any MLFeatureProvider, using state: MLState, options: MLPredictionOptions = MLPredictionOptions()
    ) async throws -> any MLFeatureProvider {
        try StandIn.backend.predict(url, configuration.functionName, input, state)
    }
}
