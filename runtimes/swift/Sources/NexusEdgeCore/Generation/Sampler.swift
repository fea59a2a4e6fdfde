import Foundation

/// From logits to the next token: greedy, or nucleus sampling (Holtzman et al., arXiv 1904.09751, section 3.1).
///
/// The same seed and the same logits give the same tokens, here and in the Python runtime.
package struct Sampler {
    private let temperature, topP: Double
    private var random: NumpyRandom

    package init(_ options: GenerationOptions) {
        (temperature, topP) = (options.temperature, options.topP)
        random = NumpyRandom(seed: options.seed ?? .random(in: .min ... .max))
    }

    /// Id of the next token from logits [vocab]; throws `.bundle` if they hold NaN.
    package mutating func pick(_ logits: [Float]) throws -> Int {
        guard !logits.isEmpty, !logits.contains(where: \.isNaN) else {
            throw NexusEdgeError.bundle(
                "the decoder computes no numbers (NaN); its weights are damaged: export the bundle again")
        }
        var best = 0
        for place in logits.indices where logits[place] > logits[best] { best = place }
        if temperature == 0 { return best }
        // The highest logit is taken off first, so that exp cannot overflow; at worst the others become 0.
        let weights = logits.map { exp((Double($0) - Double(logits[best])) / temperature) }
        let order = weights.indices.sorted { (weights[$1], $0) < (weights[$0], $1) }
        var total = 0.0
        let cumulative = order.map { place in
            total += weights[place]
            return total
        }
        let kept = (cumulative.firstIndex { $0 >= topP * total } ?? cumulative.count - 1) + 1
        let draw = random.next() * cumulative[kept - 1]
        return order[cumulative[..<kept].firstIndex { $0 > draw } ?? kept - 1]
    }
}
