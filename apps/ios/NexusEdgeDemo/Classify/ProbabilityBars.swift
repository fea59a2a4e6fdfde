import NexusEdge
import SwiftUI

/// A bar per label, the most probable on top.
struct ProbabilityBars: View {
    let result: Classification

    var body: some View {
        ForEach(result.top(nil), id: \.label) { label, probability in
            VStack(alignment: .leading) {
                HStack {
                    Text(label)
                    Spacer()
                    Text(percent(probability)).monospacedDigit()
                }
                ProgressView(value: Double(probability))
            }
            .accessibilityElement(children: .ignore)
            .accessibilityLabel(label)
            .accessibilityValue(percent(probability))
        }
    }

    private func percent(_ probability: Float) -> String {
        Double(probability).formatted(.percent.precision(.fractionLength(1)))
    }
}
