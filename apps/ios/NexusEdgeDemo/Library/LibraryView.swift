import SwiftUI
import UniformTypeIdentifiers

/// What is installed, and how more comes here.
struct LibraryView: View {
    @Environment(ModelLibrary.self) private var library
    @State private var isChoosing = false

    var body: some View {
        NavigationStack {
            List {
                Section("Installed") {
                    ForEach(library.models) { model in ModelRow(model: model) }
                    if library.models.isEmpty { Text("No model yet.") }
                }
                if !library.problems.isEmpty {
                    Section("Not usable") {
                        ForEach(library.problems, id: \.self) { problem in Text(problem).foregroundStyle(.red) }
                    }
                }
                Section {
                    Button("Add a bundle from Files", systemImage: "folder.badge.plus") { isChoosing = true }
                        .disabled(library.isCopying)
                    if library.isCopying { ProgressView("Copying") }
                } footer: {
                    Text("Choose the folder that nexus-edge export --target coreml wrote.")
                }
            }
            .navigationTitle("Models")
            .fileImporter(isPresented: $isChoosing, allowedContentTypes: [.folder]) { result in
                switch result {
                case .success(let folder): Task { await library.add(folder) }
                case .failure(let error): library.report(error)
                }
            }
        }
    }
}

private struct ModelRow: View {
    let model: InstalledModel
    @Environment(ModelLibrary.self) private var library

    var body: some View {
        VStack(alignment: .leading) {
            Text(model.name).font(.headline)
            Text(model.caution).font(.footnote).foregroundStyle(.secondary)
            if let license = model.license { Text("Licence: \(license)").font(.footnote).foregroundStyle(.secondary) }
        }
        .accessibilityElement(children: .combine)
        .swipeActions {
            if !model.isBuiltIn {
                Button("Delete", systemImage: "trash", role: .destructive) { library.remove(model) }
            }
        }
    }
}
