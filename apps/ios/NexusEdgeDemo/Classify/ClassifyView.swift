import SwiftUI

/// Which of your labels fits the image.
struct ClassifyView: View {
    let labels: ClassifyModel
    @State private var model: InstalledModel?
    @State private var picture: ChosenPicture?
    @State private var text = "white blood cell\nred blood cell\nplatelet"

    var body: some View {
        NavigationStack {
            Form {
                PictureChooser(picture: $picture)
                Section("Labels, one a line") {
                    TextField("Labels", text: $text, axis: .vertical)
                        .accessibilityLabel("Labels, one a line")
                    Button("Compare", systemImage: "chart.bar", action: classify)
                        .disabled(picture == nil || model == nil || labels.phase == .working)
                }
                Section("Probabilities") {
                    if labels.phase == .working { ProgressView("Comparing") }
                    if case .failed(let message) = labels.phase { Text(message).foregroundStyle(.red) }
                    if let result = labels.result { ProbabilityBars(result: result) }
                    Text("Of these labels alone: they add up to 100 %, even if none fits. Not a medical device.")
                        .font(.footnote).foregroundStyle(.secondary)
                }
                ModelChoice(purpose: .compares, chosen: $model)
            }
            .navigationTitle("Labels")
        }
    }

    private func classify() {
        guard let picture, let model else { return }
        labels.classify(picture, text, model, .current)
    }
}
