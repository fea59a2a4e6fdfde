import Foundation
import Observation

/// The bundles that the app can use.
@MainActor @Observable
final class ModelLibrary {
    private(set) var models: [InstalledModel] = []
    private(set) var problems: [String] = []
    private(set) var isCopying = false

    func models(for purpose: InstalledModel.Purpose) -> [InstalledModel] {
        models.filter { $0.purpose == purpose }
    }

    func refresh() { (models, problems) = ModelFolders.installed() }

    /// Copies gigabytes, so not on the main thread.
    func add(_ folder: URL) async {
        isCopying = true
        defer { isCopying = false }
        let problem = await Task.detached { () -> String? in
            do {
                try ModelFolders.add(folder)
                return nil
            } catch {
                return error.localizedDescription
            }
        }.value
        refresh()
        if let problem { problems.append(problem) }
    }

    func remove(_ model: InstalledModel) {
        do {
            try ModelFolders.remove(model)
            refresh()
        } catch {
            problems.append(error.localizedDescription)
        }
    }

    func report(_ error: any Error) { problems.append(error.localizedDescription) }
}
