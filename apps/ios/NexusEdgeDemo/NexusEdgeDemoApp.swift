import SwiftUI

/// Two models on one device: one that answers questions about an image, one that tells which of your labels fits it.
@main
struct NexusEdgeDemoApp: App {
    @State private var library = ModelLibrary()
    @State private var answers = AnswerModel()
    @State private var labels = ClassifyModel()

    var body: some Scene {
        WindowGroup {
            TabView {
                AskView(answers: answers)
                    .tabItem { Label("Ask", systemImage: "text.bubble") }
                ClassifyView(labels: labels)
                    .tabItem { Label("Labels", systemImage: "chart.bar") }
                LibraryView()
                    .tabItem { Label("Models", systemImage: "shippingbox") }
                SettingsView()
                    .tabItem { Label("Settings", systemImage: "gearshape") }
            }
            .environment(library)
            .task { library.refresh() }
        }
    }
}
