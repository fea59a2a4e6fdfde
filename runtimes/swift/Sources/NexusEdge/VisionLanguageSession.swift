#if canImport(CoreML)
import CoreML
import Foundation

/// A model that answers questions about images, loaded: one set of caches, one answer after the other.
///
/// Everything between Core ML's calls is `NexusEdgeCore`'s `VisionLanguageModel`; this gives it a thread of its own,
/// streams, and memory back.
@available(iOS 18, macOS 15, *)
public actor VisionLanguageSession {
    /// What the bundle says about itself, for instance whose weights these are.
    public nonisolated let manifest: Manifest
    /// Counts and times of the newest answer that was not cancelled, from the end of its stream on.
    public private(set) var lastRun: RunStats?

    private let executor = QueueExecutor("nexus-edge.answers")
    private let bundle: BundleFolder
    private var model: VisionLanguageModel?
    private var vision: VisionEncoder?

    /// Whether the vision encoder takes memory now.
    var isVisionLoaded: Bool { vision?.isLoaded ?? false }

    public nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// Compiles what was not compiled before, and loads it.
    ///
    /// - Parameters:
    ///   - folder: the bundle: manifest.json, `coreml` and `processor`
    ///   - progress: called before each package, on any thread
    /// - Throws: `NexusEdgeError.bundle`; `CancellationError` between two packages
    public static func open(
        _ folder: URL, options: SessionOptions = SessionOptions(),
        progress: @escaping @Sendable (OpeningStep) -> Void = { _ in }
    ) async throws -> VisionLanguageSession {
        let session = VisionLanguageSession(try BundleFolder(folder, options))
        try await session.load(progress)
        return session
    }

    private init(_ bundle: BundleFolder) {
        (self.bundle, manifest) = (bundle, bundle.manifest)
    }

    /// The answer to a question, in pieces of whole characters. It is computed once somebody takes pieces, and stops when
    /// nobody does any more: when the task that iterates is cancelled, or the stream let go.
    ///
    /// - Parameters:
    ///   - prompt: a question, put into the chat template after its images
    ///   - raw: the prompt is a whole one (true), or a question whatever it looks like (false: say so for what people
    ///     type); nil refuses what looks like a whole prompt
    public nonisolated func generate(
        _ prompt: String, images: [RgbImage] = [], raw: Bool? = nil, options: GenerationOptions
    ) -> AsyncThrowingStream<String, any Error> {
        stream { model, onPiece in
            try model.generate(prompt, images: images, raw: raw, options: options, onPiece: onPiece)
        }
    }

    /// The next turn of a conversation, as `generate`. What the caches hold of earlier turns is not computed again.
    public nonisolated func answer(
        _ conversation: Conversation, options: GenerationOptions
    ) -> AsyncThrowingStream<String, any Error> {
        stream { model, onPiece in
            try model.answer(conversation.messages, images: conversation.images, options: options, onPiece: onPiece)
        }
    }

    /// Gives all memory back; the session is of no use afterwards.
    public func close() { (model, vision) = (nil, nil) }

    private typealias Work = @Sendable (VisionLanguageModel, (String) throws -> Bool) throws -> RunStats

    private nonisolated func stream(_ work: @escaping Work) -> AsyncThrowingStream<String, any Error> {
        AsyncThrowingStream { continuation in
            let task = Task { await self.run(work, continuation) }
            continuation.onTermination = { _ in task.cancel() }
        }
    }

    private func run(_ work: Work, _ continuation: AsyncThrowingStream<String, any Error>.Continuation) {
        lastRun = nil
        do {
            try Task.checkCancellation()  // another answer may have kept this one waiting
            guard let model else { throw NexusEdgeError.input("the session was closed; open it again") }
            let stats = try work(model) { piece in
                continuation.yield(piece)
                return !Task.isCancelled
            }
            if !Task.isCancelled { lastRun = stats }
            continuation.finish()
        } catch is CancellationError {
            continuation.finish()
        } catch {
            continuation.finish(throwing: error)
        }
    }

    private func load(_ progress: @escaping @Sendable (OpeningStep) -> Void) async throws {
        guard case .vlm(let facts) = manifest.facts else {
            throw NexusEdgeError.bundle("\(bundle.folder.path) holds \(manifest.model.name), which does not write")
        }
        let processor = try Phi3Processor(folder: bundle.processor, facts: facts)
        let roles = try [Roles.vision, Roles.embedding, Roles.decoder, Roles.head].map(bundle.packages)
        let packages = roles.flatMap { $0 }
        let places = try await bundle.compile(packages, progress)

        var done = 0
        let functions = packages.reduce(0) { $0 + $1.functions.count }
        func loaded(_ function: FunctionInfo, of package: PackageInfo) throws -> PackageModel {
            try Task.checkCancellation()
            progress(OpeningStep(phase: .loading, package: package.file, done: done, of: functions))
            done += 1
            return try bundle.load(function, of: package, places)
        }
        let vision = try VisionEncoder(roles[0][0]) { [bundle] function in
            try bundle.load(function, of: roles[0][0], places)
        }
        let embedders = try roles[1][0].functions.map { try loaded($0, of: roles[1][0]) }
        let chunks = try roles[2].map { package in
            (
                decode: try loaded(try package.function(named: Functions.decode), of: package),
                prefill: try loaded(try package.function(named: Functions.prefill), of: package)
            )
        }
        let head = try loaded(roles[3][0].functions[0], of: roles[3][0])
        let keeps = bundle.options.keepsVisionEncoder
        let decoder = try Decoder(embedders: embedders, chunks: chunks, head: head) {
            if !keeps { vision.release() }
        }
        self.vision = vision
        model = VisionLanguageModel(
            processor: processor, vision: vision, decoder: decoder, ropeLimit: facts.ropeLimit)
    }
}
#endif
