import SwiftUI

/// Which of the installed models is used, with what its reader has to know.
struct ModelChoice: View {
    let purpose: InstalledModel.Purpose
    @Binding var chosen: InstalledModel?
    @Environment(ModelLibrary.self) private var library

    var body: some View {
        Section {
            Picker("Model", selection: $chosen) {
                Text("None").tag(InstalledModel?.none)
                ForEach(library.models(for: purpose)) { model in
                    Text(model.name).tag(Optional(model))
                }
            }
        } footer: {
            Text(chosen?.caution ?? "Add a model in the tab Models.")
        }
        .onAppear(perform: chooseFirst)
        .onChange(of: library.models) { chooseFirst() }
    }

    private func chooseFirst() {
        let models = library.models(for: purpose)
        if chosen.map(models.contains) != true { chosen = models.first }
    }
}
