import CoreVideo
import Foundation

public protocol MLFeatureProvider {
    var featureNames: Set<String> { get }
    func featureValue(for featureName: String) -> MLFeatureValue?
}

public class MLFeatureValue: NSObject {
    public let multiArrayValue: MLMultiArray?
    public let imageBufferValue: CVPixelBuffer?

    public init(multiArray value: MLMultiArray) {
        (multiArrayValue, imageBufferValue) = (value, nil)
    }

    public init(pixelBuffer value: CVPixelBuffer) {
        (multiArrayValue, imageBufferValue) = (nil, value)
    }
}

public class MLDictionaryFeatureProvider: NSObject, MLFeatureProvider {
    private let values: [String: MLFeatureValue]

    public init(dictionary: [String: Any]) throws {
        values = try dictionary.mapValues { value in
            guard let feature = value as? MLFeatureValue else {
                throw StandInError("\(type(of: value)) is no MLFeatureValue")
            }
            return feature
        }
    }

    public var featureNames: Set<String> { Set(values.keys) }

    public func featureValue(for featureName: String) -> MLFeatureValue? { values[featureName] }
}
