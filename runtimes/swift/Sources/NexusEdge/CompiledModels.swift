#if canImport(CoreML)
import CoreML
import Foundation

/// Packages compiled for this device, kept from one start of the app to the next.
///
/// Compiling takes seconds to minutes and Core ML keeps nothing of it itself. A folder per bundle, named after the hash
/// of its manifest: another export is another folder. It is left out of backups, because it can be made again.
public struct CompiledModels: Sendable, Equatable {
    /// Holds a folder per bundle.
    public let folder: URL

    /// - Parameter folder: by default `NexusEdge` in the app's Application Support
    public init(folder: URL? = nil) throws {
        if let folder {
            self.folder = folder
        } else {
            let support = try FileManager.default.url(
                for: .applicationSupportDirectory, in: .userDomainMask, appropriateFor: nil, create: true)
            self.folder = support.appendingPathComponent("NexusEdge", isDirectory: true)
        }
    }

    /// The compiled form of a package; compiles it unless that was done before.
    ///
    /// An interrupted compilation leaves nothing: Core ML writes into a temporary folder, which is moved when complete.
    ///
    /// - Parameters:
    ///   - package: the .mlpackage
    ///   - bundle: the hash of the bundle's manifest, or another name that no other bundle has
    /// - Throws: `NexusEdgeError.bundle`, with Core ML's own words
    public func compiled(_ package: URL, bundle: String) async throws -> URL {
        let name = package.deletingPathExtension().lastPathComponent + ".mlmodelc"
        let place = folder(of: bundle).appendingPathComponent(name, isDirectory: true)
        if FileManager.default.fileExists(atPath: place.path) { return place }
        let made: URL
        do {
            made = try await MLModel.compileModel(at: package)
        } catch {
            throw NexusEdgeError.bundle(
                "\(package.lastPathComponent): Core ML cannot compile it (\(error.localizedDescription)); "
                    + "copy the bundle again, and see whether there is room left on the device")
        }
        try FileManager.default.createDirectory(at: folder(of: bundle), withIntermediateDirectories: true)
        try leaveOutOfBackups()
        do {
            try FileManager.default.moveItem(at: made, to: place)
        } catch CocoaError.fileWriteFileExists {
            try FileManager.default.removeItem(at: made)  // another session was faster
        }
        return place
    }

    /// Throws away what was compiled for a bundle, for instance because it was deleted.
    public func remove(bundle: String) throws {
        guard FileManager.default.fileExists(atPath: folder(of: bundle).path) else { return }
        try FileManager.default.removeItem(at: folder(of: bundle))
    }

    /// Throws away everything.
    public func removeAll() throws {
        guard FileManager.default.fileExists(atPath: folder.path) else { return }
        try FileManager.default.removeItem(at: folder)
    }

    private func folder(of bundle: String) -> URL { folder.appendingPathComponent(bundle, isDirectory: true) }

    private func leaveOutOfBackups() throws {
        var values = URLResourceValues()
        values.isExcludedFromBackup = true
        var place = folder
        try place.setResourceValues(values)
    }
}
#endif
