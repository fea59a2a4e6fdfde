#if canImport(CoreML)
import Foundation

/// A model that compares images and sentences, such as BiomedCLIP: labels with probabilities, and search.
public actor DualEncoderSession {
    /// What the bundle says about itself, for instance whose weights these are.
    public nonisolated let manifest: Manifest

    private let executor = QueueExecutor("nexus-edge.towers")
    private let bundle: BundleFolder
    private var loaded: (towers: Towers, encoder: DualEncoder)?

    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Compiles what was not compiled before. Packages are loaded when they are needed.
    ///
    /// - Parameters:
    ///   - folder: the bundle: manifest.json, `coreml` and `processor`
    ///   - progress: called before each package, on any thread
    /// - Throws: `NexusEdgeError.bundle`; `CancellationError` between two packages
    public static func open(
        _ folder: URL, options: SessionOptions = SessionOptions(),
        progress: @escaping @Sendable (OpeningStep) -> Void = { _ in }
    ) async throws -> DualEncoderSession {
        let session = DualEncoderSession(try BundleFolder(folder, options))
        try await session.load(progress)
        return session
    }

    private init(_ bundle: BundleFolder) {
        (self.bundle, manifest) = (bundle, bundle.manifest)
    }

    /// A unit vector.
    public func embed(_ image: RgbImage) throws -> [Float] { try encoder().embed(image) }

    /// A unit vector.
    public func embed(_ text: String) throws -> [Float] { try encoder().embed(text) }

    /// Embeds labels once, for many images.
    public func labelBank(_ prompts: PromptSet) throws -> LabelBank { try encoder().labelBank(prompts) }

    public func classify(_ image: RgbImage, _ bank: LabelBank) throws -> Classification {
        try encoder().classify(image, bank)
    }

    /// The entries that a sentence describes best, best first.
    public func search(_ text: String, in index: PictureIndex, top: Int) throws -> [PictureIndex.Hit] {
        index.nearest(try embed(text), top: top)
    }

    /// The entries most alike an image, best first.
    public func search(_ image: RgbImage, in index: PictureIndex, top: Int) throws -> [PictureIndex.Hit] {
        index.nearest(try embed(image), top: top)
    }

    /// Gives the memory of the packages back; the next call loads them again.
    public func release() { loaded?.towers.release() }

    private func encoder() throws -> DualEncoder {
        guard let loaded else { throw NexusEdgeError.input("the session is not open yet") }
        return loaded.encoder
    }

    private func load(_ progress: @escaping @Sendable (OpeningStep) -> Void) async throws {
        guard case .dualEncoder(let facts) = manifest.facts, let logitScale = manifest.logitScale else {
            throw NexusEdgeError.bundle("\(bundle.folder.path) holds \(manifest.model.name), which does not compare")
        }
        // Of several packages for one tower the newest that runs here; a bundle for a bank of labels has no text tower.
        let image = try bundle.packages(Roles.image)[0]
        let text = manifest.packages(role: Roles.text, ios: 17).isEmpty
            && manifest.packages(role: Roles.text, ios: 18).isEmpty ? nil : try bundle.packages(Roles.text)[0]
        let places = try await bundle.compile([image] + (text.map { [$0] } ?? []), progress)
        let processor = try BiomedClipProcessor(
            folder: bundle.processor, facts: facts, contextLength: manifest.contextLength)
        let towers = try Towers(processor: processor, image: image, text: text) { [bundle] function, package in
            try bundle.load(function, of: package, places)
        }
        loaded = (towers, DualEncoder(processor: processor, backend: towers, logitScale: logitScale))
    }
}
#endif
