import NexusEdgeCore
import Testing

/// The loop from a prompt to text, with a decoder that writes what it is told.
@Suite struct ModelTests {
    let processor: Phi3Processor
    let answer: [Int]
    let stop: Int

    init() throws {
        processor = try Goldens.phi3()
        answer = processor.tokenizer.encode("A red circle é🙂 on the left", addBos: false)
        stop = processor.facts.stopIds[0]
    }

    private func ask(
        _ script: [Int], images: [RgbImage] = [], context: Int = 4096, options: GenerationOptions? = nil,
        enough: Int = .max
    ) throws -> (pieces: [String], run: RunStats, vision: FakeVision) {
        let vision = FakeVision()
        let model = VisionLanguageModel(
            processor: processor, vision: vision, decoder: ScriptedDecoder(script, vocabulary: 700, context: context),
            ropeLimit: nil)
        var pieces: [String] = []
        let run = try model.generate("What?", images: images, options: try options ?? GenerationOptions()) { piece in
            pieces.append(piece)
            return pieces.count < enough
        }
        return (pieces, run, vision)
    }

    @Test func theAnswerEndsAtAStopToken() throws {
        let (pieces, run, _) = try ask(answer + [stop, answer[0]])
        #expect(pieces.joined() == "A red circle é🙂 on the left" && pieces.count > 3)
        #expect(run.finish == .stop && run.newTokens == answer.count && run.decodeSteps == answer.count)
        #expect(!pieces.contains("") && !pieces.joined().unicodeScalars.contains("\u{FFFD}"))
    }

    @Test func theAnswerEndsAtALimitAStopTextAndAFullContext() throws {
        let limited = try ask(answer, options: GenerationOptions(maxNewTokens: 3))
        #expect(limited.run.finish == .length && limited.run.newTokens == 3 && limited.run.decodeSteps == 2)
        let stopped = try ask(answer, options: GenerationOptions(stop: ["circle"]))
        #expect(stopped.run.finish == .stop && stopped.pieces.joined() == "A red ")
        let prompt = limited.run.promptTokens
        let full = try ask(answer, context: prompt + 2)
        #expect(full.run.finish == .context && full.run.newTokens == 2)
        #expect(throws: NexusEdgeError.self) { try ask(answer, context: prompt) }
    }

    @Test func aStopTokenOfTheBundleEndsTheAnswerToo() throws {
        let own = answer[2]
        let model = VisionLanguageModel(
            processor: try Goldens.phi3(stopIds: [own]), vision: FakeVision(),
            decoder: ScriptedDecoder(answer, vocabulary: 700), ropeLimit: nil)
        let run = try model.generate("What?", options: try GenerationOptions()) { _ in true }
        #expect(run.finish == .stop && run.newTokens == answer.firstIndex(of: own))
    }

    @Test func whatLooksLikeAWholePromptIsTakenOnlyAsItIsSaid() throws {
        let model = VisionLanguageModel(
            processor: processor, vision: FakeVision(), decoder: ScriptedDecoder([stop, stop], vocabulary: 700),
            ropeLimit: nil)
        func promptTokens(_ raw: Bool?) throws -> Int {
            try model.generate(
                "<|user|>\nHi<|end|>\n<|assistant|>\n", raw: raw, options: try GenerationOptions()) { _ in true
            }.promptTokens
        }
        #expect(throws: NexusEdgeError.self) { try promptTokens(nil) }
        #expect(try promptTokens(true) < promptTokens(false))  // its tokens are spelled out inside of the turn
    }

    @Test func whoWantsNoMoreGetsNoMore() throws {
        let (pieces, run, _) = try ask(answer, enough: 2)
        #expect(pieces.count == 2 && run.finish == .interrupted)
    }

    @Test func aPictureIsEncodedOnceInAsFewCallsAsPossible() throws {
        let image = try RgbImage(width: 2, height: 1, pixels: [9, 9, 9, 8, 8, 8]), vision = FakeVision()
        let model = VisionLanguageModel(
            processor: processor, vision: vision, decoder: ScriptedDecoder([stop, stop], vocabulary: 700),
            ropeLimit: nil)
        var conversation = Conversation(system: "Be brief.")
        conversation.ask("What?", images: [image])
        let first = try model.answer(
            conversation.messages, images: conversation.images, options: try GenerationOptions()) { _ in true }
        let views = try processor.picture(image).viewCount
        #expect(vision.calls.reduce(0, +) == views && vision.calls == vision.calls.sorted(by: >))
        #expect(try first.imageTokens == processor.countTokens(image))
        #expect(first.reusedTokens == 0)
        conversation.answered("A line.")
        conversation.ask("Sure?")
        let second = try model.answer(
            conversation.messages, images: conversation.images, options: try GenerationOptions()) { _ in true }
        #expect(vision.calls.reduce(0, +) == views && second.reusedTokens >= first.promptTokens - 1)
        conversation.takeBack()
        #expect(conversation.messages.last?.role == .assistant && conversation.images == [image])
        conversation.takeBack()
        #expect(conversation.messages.count == 1 && conversation.images.isEmpty)
    }

    @Test func optionsOutOfRangeAreRefused() {
        #expect(throws: NexusEdgeError.self) { try GenerationOptions(maxNewTokens: 0) }
        #expect(throws: NexusEdgeError.self) { try GenerationOptions(temperature: -1) }
        #expect(throws: NexusEdgeError.self) { try GenerationOptions(temperature: .nan) }
        #expect(throws: NexusEdgeError.self) { try GenerationOptions(topP: 0) }
        #expect(throws: NexusEdgeError.self) { try GenerationOptions(stop: [""]) }
    }

    @Test func samplingKeepsToTheNucleusAndToItsSeed() throws {
        let logits: [Float] = [0, 2, 1.9, -5]
        var greedy = Sampler(try GenerationOptions())
        #expect(try greedy.pick(logits) == 1 && greedy.pick([3, 3]) == 0)
        func draws(_ topP: Double) throws -> [Int] {
            var sampler = Sampler(try GenerationOptions(temperature: 1, topP: topP, seed: 4))
            return try (0..<300).map { _ in try sampler.pick(logits) }
        }
        #expect(try Set(draws(0.4)) == [1] && Set(draws(0.9)) == [1, 2] && draws(1) == draws(1))
        #expect(try draws(1).contains(0))
        #expect(throws: NexusEdgeError.self) { try greedy.pick([1, .nan]) }
    }
}
