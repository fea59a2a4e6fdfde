/// A model with one set of caches: answers come one after the other, and a later prompt reuses what it shares.
///
/// It does all that lies between the calls of a backend. Not `Sendable`: keep it inside an actor.
public final class VisionLanguageModel {
    public let processor: Phi3Processor

    private let decoder: any DecoderBackend
    private let context: SequenceContext
    private let pictures: PictureFeatures

    /// - Parameter ropeLimit: the longest sequence for LongRoPE's short list, of the bundle's facts
    public init(
        processor: Phi3Processor, vision: any VisionBackend, decoder: any DecoderBackend, ropeLimit: Int?
    ) {
        (self.processor, self.decoder) = (processor, decoder)
        context = SequenceContext(decoder, ropeLimit: ropeLimit)
        pictures = PictureFeatures(processor, vision)
    }

    /// The answer to a prompt, in pieces of whole characters.
    ///
    /// - Parameters:
    ///   - prompt: a question, which is put into the chat template after its images
    ///   - images: image 1, 2, ...
    ///   - raw: the prompt is a whole one, with its control tokens and <|image_N|> tags. false says that it is a
    ///     question, in which all of that is text; nil that it must not look like a whole prompt
    ///   - onPiece: gets the text as it comes; false ends the answer
    /// - Throws: `.prompt` and `.image` before anything is computed, whatever a backend or `onPiece` throws
    @discardableResult
    public func generate(
        _ prompt: String, images: [RgbImage] = [], raw: Bool? = nil, options: GenerationOptions,
        onPiece: (String) throws -> Bool
    ) throws -> RunStats {
        if raw == true {
            return try complete(images, options, onPiece) { try processor.ids(whole: prompt, imageTokens: $0) }
        }
        guard raw == false || !processor.chat.isWhole(prompt) else {
            throw NexusEdgeError.prompt(
                "the prompt begins with a role's token or has <|image_N|> tags; raw: true takes it as a whole prompt, "
                    + "raw: false as a question in which they are text")
        }
        return try answer(
            [ChatMessage(user: prompt, images: images.count)], images: images, options: options, onPiece: onPiece)
    }

    /// The next turn of a conversation; as `generate`. The images are those of all turns, in their order; texts are
    /// text, whatever they look like.
    @discardableResult
    public func answer(
        _ messages: [ChatMessage], images: [RgbImage], options: GenerationOptions, onPiece: (String) throws -> Bool
    ) throws -> RunStats {
        let prompt = try processor.chat.render(messages)
        return try complete(images, options, onPiece) { try processor.ids(prompt: prompt, imageTokens: $0) }
    }

    /// - Parameter encode: from how many positions each image takes to the ids of the prompt
    private func complete(
        _ images: [RgbImage], _ options: GenerationOptions, _ onPiece: (String) throws -> Bool,
        _ encode: ([Int]) throws -> [Int]
    ) throws -> RunStats {
        var run = RunStats()
        let ids = try timed(&run.prepareSeconds) { try encode(try images.map(processor.countTokens)) }
        (run.promptTokens, run.imageTokens) = (ids.count, ids.count { $0 < 0 })
        guard ids.count < decoder.contextLength else {
            throw NexusEdgeError.prompt(
                "the prompt has \(ids.count) tokens with its images, the model's context \(decoder.contextLength), "
                    + "and the answer needs room; shorten the prompt or use fewer images")
        }
        let features = try images.map { try pictures.encode($0, hidden: decoder.hiddenSize, &run) }
        let tokens = try TokenSequence(ids: ids, pictures: features, hidden: decoder.hiddenSize)
        let (logits, reused) = try timed(&run.prefillSeconds) { try context.load(tokens) }
        run.reusedTokens = reused
        try write(logits, options, &run, onPiece)
        return run
    }

    /// Tokens to text, of which only whole characters and nothing of a stop string get out.
    private func write(
        _ first: [Float], _ options: GenerationOptions, _ run: inout RunStats, _ onPiece: (String) throws -> Bool
    ) throws {
        var stops = try StopStrings(options.stop), decoder = StreamDecoder(processor.tokenizer)
        var sampler = Sampler(options), logits = first
        let room = self.decoder.contextLength - run.promptTokens
        while true {
            let token = try sampler.pick(logits)
            if processor.facts.stopIds.contains(token) {
                run.finish = .stop
                break
            }
            run.newTokens += 1
            let piece = stops.push(decoder.push(token))
            if !piece.isEmpty, try !onPiece(piece) { return }
            if stops.stopped {
                run.finish = .stop
                return
            }
            if run.newTokens == options.maxNewTokens {
                run.finish = .length
                break
            }
            if run.newTokens == room {
                run.finish = .context
                break
            }
            logits = try timed(&run.decodeSeconds) { try context.append(token) }
            run.decodeSteps += 1
        }
        let rest = stops.push(decoder.flush()) + stops.flush()
        if !rest.isEmpty { _ = try onPiece(rest) }
    }
}
