#if canImport(CoreML)
import CoreML
import Foundation

/// The packages of a dual encoder, each function loaded at its first use: with a bank of labels the text tower never is.
final class Towers: DualBackend {
    let textLengths: [Int]
    private let processor: BiomedClipProcessor
    private let open: (FunctionInfo, PackageInfo) throws -> PackageModel
    private let image: (FunctionInfo, PackageInfo)
    private let texts: [Int: (FunctionInfo, PackageInfo)]
    private var loaded: [String: PackageModel] = [:]

    /// - Parameters:
    ///   - text: nil in a bundle without a text tower
    ///   - open: loads a function of a package
    init(
        processor: BiomedClipProcessor, image: PackageInfo, text: PackageInfo?,
        open: @escaping (FunctionInfo, PackageInfo) throws -> PackageModel
    ) throws {
        (self.processor, self.open) = (processor, open)
        // The array is what the parity report is about, and no convention of pixel formats is in between; the function
        // with an image input is for packages that have no other (iOS 17).
        guard let taking = image.functions.first(where: { $0.takes(Inputs.pixels) }) ?? image.functions.first else {
            throw NexusEdgeError.bundle("\(image.file) has no functions; export the bundle again")
        }
        self.image = (taking, image)
        var texts: [Int: (FunctionInfo, PackageInfo)] = [:]
        if let text {
            for function in text.functions { texts[try function.input(Inputs.ids).count] = (function, text) }
        }
        (self.texts, textLengths) = (texts, texts.keys.sorted())
    }

    func encode(image picture: RgbImage) throws -> [Float] {
        let model = try model(image)
        if model.function.takes(Inputs.pixels) {
            let shape = try model.function.input(Inputs.pixels).shape
            return try MLMultiArray.lending(processor.pixelValues(picture), shape: shape) { array in
                let outputs = try model.run([Inputs.pixels: MLFeatureValue(multiArray: array)])
                return try model.numbers(Outputs.image, in: outputs)
            }
        }
        let outputs = try model.run([Inputs.image: MLFeatureValue(pixelBuffer: pixelBuffer(picture))])
        return try model.numbers(Outputs.image, in: outputs)
    }

    func encode(ids: [Int32]) throws -> [Float] {
        guard let function = texts[ids.count] else {
            throw NexusEdgeError.input("no function of the text tower takes \(ids.count) ids, but \(textLengths)")
        }
        let model = try model(function)
        return try MLMultiArray.lending(ids, shape: [1, ids.count]) { array in
            let outputs = try model.run([Inputs.ids: MLFeatureValue(multiArray: array)])
            return try model.numbers(Outputs.text, in: outputs)
        }
    }

    /// Gives the memory of both towers back; they are loaded again when needed.
    func release() { loaded = [:] }

    private func model(_ found: (FunctionInfo, PackageInfo)) throws -> PackageModel {
        let name = "\(found.1.file) \(found.0.name)"
        if let model = loaded[name] { return model }
        let model = try open(found.0, found.1)
        loaded[name] = model
        return model
    }
}

extension FunctionInfo {
    fileprivate func takes(_ input: String) -> Bool { inputs.contains { $0.name == input } }
}
#endif
