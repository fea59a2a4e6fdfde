import Foundation

/// One image against all labels.
public struct Classification: Sendable, Equatable {
    public let labels: [String]
    /// In the order of the labels, 1 together.
    public let probabilities: [Float]
    /// Cosines, -1 to 1.
    public let similarities: [Float]

    /// Softmax of `logitScale` times the similarities, of which there must be one per label.
    public init(labels: [String], similarities: [Float], logitScale: Double) {
        let logits = similarities.map { logitScale * Double($0) }
        let highest = logits.max() ?? 0
        let weights = logits.map { exp($0 - highest) }
        let total = weights.reduce(0, +)
        (self.labels, self.similarities) = (labels, similarities)
        probabilities = weights.map { Float($0 / total) }
    }

    /// The most probable label.
    public var best: String { top(1)[0].label }

    /// The `count` most probable labels, or all, the best first.
    public func top(_ count: Int? = nil) -> [(label: String, probability: Float)] {
        labels.indices.sorted { (similarities[$1], $0) < (similarities[$0], $1) }
            .prefix(count ?? labels.count)
            .map { (labels[$0], probabilities[$0]) }
    }
}
