#if canImport(CoreML)
import CoreML
import Foundation

/// One function of a package, loaded. Not thread-safe: a session's actor owns it.
final class PackageModel {
    let function: FunctionInfo
    private let place: String
    private let model: MLModel

    /// Blocks while Core ML prepares the function for its compute unit, minutes at the first time of a large one.
    ///
    /// - Parameters:
    ///   - compiled: from `CompiledModels`
    ///   - units: nil takes the package's advice
    ///   - manifest: hash of the bundle's manifest, which the package carries, too
    init(
        _ function: FunctionInfo, of package: PackageInfo, compiled: URL, units: ComputeUnits?, manifest: String?
    ) throws {
        self.function = function
        place = "\(package.file), function \(function.name)"
        let configuration = MLModelConfiguration()
        configuration.computeUnits = (units ?? package.computeUnits).coreML
        // Packages for iOS 17 have one function and know no names of functions.
        if package.functions.count > 1, #available(iOS 18, macOS 15, *) { configuration.functionName = function.name }
        do {
            model = try MLModel(contentsOf: compiled, configuration: configuration)
        } catch {
            throw NexusEdgeError.bundle(
                "\(place): Core ML cannot load it (\(error.localizedDescription)); it needs iOS \(package.ios) or "
                    + "macOS \(package.macos); where memory is short, close other apps or choose other compute units")
        }
        let keys = model.modelDescription.metadata[.creatorDefinedKey] as? [String: String]
        if let manifest, let found = keys?[Keys.manifest], found != manifest {
            throw NexusEdgeError.bundle("\(place) belongs to another bundle; copy the whole folder again")
        }
    }

    @available(iOS 18, macOS 15, *)
    func makeState() -> MLState { model.makeState() }

    /// Runs the function, between two looks at whether the task was cancelled.
    ///
    /// - Parameter state: for a function with caches an `MLState`; typed as what iOS 17 knows, too
    func run(_ inputs: [String: MLFeatureValue], state: AnyObject? = nil) throws -> any MLFeatureProvider {
        try Task.checkCancellation()
        let features = try MLDictionaryFeatureProvider(dictionary: inputs)
        do {
            if #available(iOS 18, macOS 15, *), let state = state as? MLState {
                return try model.prediction(from: features, using: state)
            }
            return try model.prediction(from: features)
        } catch {
            throw NexusEdgeError.bundle("\(place): Core ML cannot run it (\(error.localizedDescription))")
        }
    }

    /// An output that the next function takes as it is.
    func array(_ name: String, in outputs: any MLFeatureProvider) throws -> MLMultiArray {
        guard let array = outputs.featureValue(for: name)?.multiArrayValue else {
            throw NexusEdgeError.bundle("\(place) has no output \(name); export the bundle again")
        }
        return array
    }

    /// All numbers of an output, row by row.
    func numbers<Number: ArrayNumber>(_ name: String, in outputs: any MLFeatureProvider) throws -> [Number] {
        let array = try array(name, in: outputs)
        guard let numbers: [Number] = array.numbers() else {
            throw NexusEdgeError.bundle("\(place): output \(name) is of type \(array.dataType); export the bundle again")
        }
        return numbers
    }
}

extension ComputeUnits {
    var coreML: MLComputeUnits {
        switch self {
        case .all: return .all
        case .cpuOnly: return .cpuOnly
        case .cpuAndGPU: return .cpuAndGPU
        case .cpuAndNeuralEngine: return .cpuAndNeuralEngine
        }
    }
}
#endif
