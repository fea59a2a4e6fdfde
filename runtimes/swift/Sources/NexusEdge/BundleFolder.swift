#if canImport(CoreML)
import Foundation

/// A bundle, with what compiling and loading its packages needs.
struct BundleFolder: Sendable {
    let folder: URL
    let manifest: Manifest
    let options: SessionOptions

    init(_ folder: URL, _ options: SessionOptions) throws {
        (self.folder, self.options) = (folder, options)
        manifest = try Manifest(folder: folder)
    }

    /// Where the checkpoint's tokenizer is.
    var processor: URL { folder.appendingPathComponent("processor", isDirectory: true) }

    /// Packages with this role that run here, in running order.
    ///
    /// - Throws: `NexusEdgeError.bundle` if there is none
    func packages(_ role: String) throws -> [PackageInfo] {
        let found = manifest.packages(role: role, ios: Self.system)
        if found.isEmpty {
            throw NexusEdgeError.bundle(
                "\(folder.path): no package for \(role) runs on this system; it takes iOS 18 or macOS 15, or an export "
                    + "in int8 or fp16")
        }
        return found
    }

    /// Compiles packages one after the other and says so: package by package, where they lie then.
    func compile(_ packages: [PackageInfo], _ progress: @Sendable (OpeningStep) -> Void) async throws -> [String: URL] {
        let models = try options.compiledModels ?? CompiledModels()
        var places: [String: URL] = [:]
        for (done, package) in packages.enumerated() {
            try Task.checkCancellation()
            progress(OpeningStep(phase: .compiling, package: package.file, done: done, of: packages.count))
            let source = folder.appendingPathComponent(package.path, isDirectory: true)
            places[package.file] = try await models.compiled(source, bundle: manifest.model.identity)
        }
        return places
    }

    /// Loads a function of a compiled package.
    func load(_ function: FunctionInfo, of package: PackageInfo, _ places: [String: URL]) throws -> PackageModel {
        guard let place = places[package.file] else {
            throw NexusEdgeError.bundle("\(package.file) was not compiled")
        }
        return try PackageModel(
            function, of: package, compiled: place, units: options.computeUnits,
            manifest: manifest.model.identity)
    }

    /// The iOS of the same year on a Mac.
    private static var system: Int {
        if #available(iOS 18, macOS 15, *) { return 18 }
        return 17
    }
}

/// How a session is opened.
public struct SessionOptions: Sendable, Equatable {
    /// For all packages; nil takes the advice of each.
    public var computeUnits: ComputeUnits?
    /// Keeps the vision encoder in memory between images: faster for the next, hundreds of megabytes more.
    public var keepsVisionEncoder = false
    /// Where compiled packages are kept; nil is the app's Application Support.
    public var compiledModels: CompiledModels?

    public init() {}
}

/// What opening a session is busy with. Done for the first time it takes minutes, later seconds.
public struct OpeningStep: Sendable, Equatable {
    public enum Phase: Sendable, Equatable { case compiling, loading }

    public let phase: Phase
    public let package: String
    /// Packages of this phase that are ready, of how many.
    public let done, of: Int
}
#endif
