#if canImport(CoreML)
import CoreML
import Foundation

/// The vision package. Loaded when an image comes and released before the decoder runs: on a phone they hardly fit
/// side by side, and the features of the last images are kept anyway.
final class VisionEncoder: VisionBackend {
    let cropsPerCall: [Int]
    private let open: (FunctionInfo) throws -> PackageModel
    private let functions: [Int: FunctionInfo]
    private var loaded: [Int: PackageModel] = [:]

    /// - Parameter open: loads a function of the package
    init(_ package: PackageInfo, open: @escaping (FunctionInfo) throws -> PackageModel) throws {
        self.open = open
        functions = try Dictionary(
            uniqueKeysWithValues: package.functions.map { (try $0.input(Inputs.pixels).shape[0], $0) })
        cropsPerCall = functions.keys.sorted()
    }

    func encode(_ pixels: [Float], crops: Int) throws -> VisionFeatures {
        let model = try model(crops)
        return try MLMultiArray.lending(pixels, shape: model.function.input(Inputs.pixels).shape) { array in
            let outputs = try model.run([Inputs.pixels: MLFeatureValue(multiArray: array)])
            let globalFirst = model.function.outputs.contains { $0.name == Outputs.separatorsGlobalFirst }
            let separators = globalFirst ? Outputs.separatorsGlobalFirst : Outputs.separators
            return VisionFeatures(
                rows: try model.numbers(Outputs.features, in: outputs),
                separators: try model.numbers(separators, in: outputs))
        }
    }

    var isLoaded: Bool { !loaded.isEmpty }

    /// Gives the memory of the package back.
    func release() { loaded = [:] }

    private func model(_ crops: Int) throws -> PackageModel {
        if let model = loaded[crops] { return model }
        guard let function = functions[crops] else {
            throw NexusEdgeError.input("no function of the vision encoder takes \(crops) crops, but \(cropsPerCall)")
        }
        let model = try open(function)
        loaded[crops] = model
        return model
    }
}
#endif
