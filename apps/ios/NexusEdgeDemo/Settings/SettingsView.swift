import NexusEdge
import SwiftUI

struct SettingsView: View {
    @AppStorage(AppSettings.Name.units) private var units = AppSettings.advised
    @AppStorage(AppSettings.Name.maxNewTokens) private var maxNewTokens = AppSettings.defaultNewTokens
    @AppStorage(AppSettings.Name.keepsVision) private var keepsVision = false
    @State private var cleared: String?

    var body: some View {
        NavigationStack {
            Form {
                Section {
                    Picker("Compute units", selection: $units) {
                        Text("As the model advises").tag(AppSettings.advised)
                        Text("All").tag(ComputeUnits.all.rawValue)
                        Text("CPU and Neural Engine").tag(ComputeUnits.cpuAndNeuralEngine.rawValue)
                        Text("CPU and GPU").tag(ComputeUnits.cpuAndGPU.rawValue)
                        Text("CPU").tag(ComputeUnits.cpuOnly.rawValue)
                    }
                } footer: {
                    Text("Another choice loads the model anew, which takes a while.")
                }
                Section("Answers") {
                    Stepper("At most \(maxNewTokens) tokens", value: $maxNewTokens, in: 16...1024, step: 16)
                    Toggle("Keep the vision encoder in memory", isOn: $keepsVision)
                }
                Section {
                    Button("Delete compiled models", role: .destructive, action: clear)
                    if let cleared { Text(cleared).font(.footnote) }
                } footer: {
                    Text("They are made again when a model is used the next time.")
                }
                Section("About") {
                    Text("Everything runs on this device; images and questions do not leave it.")
                    Text("A demonstration, not a medical device. Do not use its results to diagnose or treat anybody.")
                }
            }
            .navigationTitle("Settings")
        }
    }

    private func clear() {
        do {
            try CompiledModels().removeAll()
            cleared = "Deleted."
        } catch {
            cleared = error.localizedDescription
        }
    }
}
