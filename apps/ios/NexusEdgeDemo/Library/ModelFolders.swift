import Foundation
import NexusEdge

/// Where bundles lie: some came with the app, others were copied from Files.
enum ModelFolders {
    /// Made by the build phase "Copy models"; see README.md.
    static var builtIn: URL? { Bundle.main.resourceURL?.appendingPathComponent("Models", isDirectory: true) }

    static var imported: URL { URL.documentsDirectory.appendingPathComponent("Models", isDirectory: true) }

    /// All that can be read, and a line for each that cannot.
    static func installed() -> (models: [InstalledModel], problems: [String]) {
        var models: [InstalledModel] = [], problems: [String] = []
        for (place, isBuiltIn) in [(builtIn, true), (imported, false)] {
            guard let place else { continue }
            for folder in folders(in: place) {
                do {
                    models.append(try InstalledModel(folder: folder, isBuiltIn: isBuiltIn))
                } catch {
                    problems.append(error.localizedDescription)
                }
            }
        }
        return (models, problems)
    }

    /// Copies what runs of a bundle out of Files. It appears complete or not at all.
    ///
    /// - Parameter chosen: the bundle; the person chose it, so access begins and ends here
    static func add(_ chosen: URL) throws {
        let isScoped = chosen.startAccessingSecurityScopedResource()
        defer { if isScoped { chosen.stopAccessingSecurityScopedResource() } }
        let name = try InstalledModel(folder: chosen, isBuiltIn: false).name
        try FileManager.default.createDirectory(at: imported, withIntermediateDirectories: true)
        let partial = imported.appendingPathComponent(".\(UUID().uuidString)", isDirectory: true)
        do {
            try copy(chosen, partial, ["manifest.json", "processor"])
            let coreml = "coreml", packages = chosen.appendingPathComponent(coreml, isDirectory: true)
            let files = try FileManager.default.contentsOfDirectory(at: packages, includingPropertiesForKeys: nil)
            // Not those for parity checks, as large as the packages.
            let names = files.filter { $0.pathExtension != "safetensors" }.map(\.lastPathComponent)
            try copy(packages, partial.appendingPathComponent(coreml, isDirectory: true), names)
            try FileManager.default.moveItem(at: partial, to: freePlace(for: name))
        } catch {
            try? FileManager.default.removeItem(at: partial)
            throw error
        }
    }

    private static func copy(_ source: URL, _ target: URL, _ names: [String]) throws {
        try FileManager.default.createDirectory(at: target, withIntermediateDirectories: true)
        for name in names {
            try FileManager.default.copyItem(
                at: source.appendingPathComponent(name), to: target.appendingPathComponent(name))
        }
    }

    /// Deletes a bundle and what was compiled from it.
    static func remove(_ model: InstalledModel) throws {
        try CompiledModels().remove(bundle: model.identity)
        try FileManager.default.removeItem(at: model.folder)
    }

    private static func freePlace(for name: String) -> URL {
        let names = [name] + (2...99).map { "\(name)-\($0)" }
        let places = names.map { imported.appendingPathComponent($0, isDirectory: true) }
        return places.first { !FileManager.default.fileExists(atPath: $0.path) } ?? places[0]
    }

    private static func folders(in place: URL) -> [URL] {
        let found = try? FileManager.default.contentsOfDirectory(
            at: place, includingPropertiesForKeys: nil, options: .skipsHiddenFiles)
        return (found ?? []).filter {
            FileManager.default.fileExists(atPath: $0.appendingPathComponent("manifest.json").path)
        }.sorted { $0.path < $1.path }
    }
}
