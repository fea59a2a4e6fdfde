#if !canImport(Darwin)
import CoreML
import XCTest

@testable import NexusEdge

/// The sessions' code against recorded calls of the embedded model's packages.
final class VisionLanguageSessionTests: XCTestCase {
    func testTheAnswerIsPythons() async throws {
        let fixture = try Fixture("phi3-vision")
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        let stream = session.generate(fixture.question, images: [fixture.picture], options: try GenerationOptions())
        let answer = try await text(stream)
        XCTAssertEqual(answer, fixture.answer)
        let run = await session.lastRun
        XCTAssertEqual(run?.promptTokens, fixture.promptTokens)
        XCTAssertEqual(run?.newTokens, fixture.newTokens)
        XCTAssertEqual(run?.finish, .stop)
    }

    func testAskedAgainEverythingButTheLastTokenIsStillThere() async throws {
        let fixture = try Fixture("phi3-vision")
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        let options = try GenerationOptions(maxNewTokens: 1)
        _ = try await text(session.generate(fixture.question, images: [fixture.picture], options: options))
        let before = fixture.replay.events.count
        // The call that follows was not recorded; that it is one for a single token can be seen.
        do {
            _ = try await text(session.generate(fixture.question, images: [fixture.picture], options: options))
            XCTFail("nobody recorded this call")
        } catch let error as NexusEdgeError {
            XCTAssertTrue(error.message.contains("nobody recorded"), error.message)
        }
        XCTAssertEqual(fixture.replay.events[before...], ["run embed_tokens tokens_1"])
    }

    func testTheVisionEncoderIsLoadedForAPictureAndReleased() async throws {
        let fixture = try Fixture("phi3-vision")
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        XCTAssertFalse(fixture.replay.events.contains { $0.hasPrefix("load vision_encoder") })
        _ = try await text(
            session.generate(fixture.question, images: [fixture.picture], options: GenerationOptions(maxNewTokens: 1)))
        XCTAssertEqual(fixture.replay.events.filter { $0.hasPrefix("load vision_encoder") }.count, 1)
        let loaded = await session.isVisionLoaded
        XCTAssertFalse(loaded)
    }

    func testTheVisionEncoderStaysIfThatIsWanted() async throws {
        var fixture = try Fixture("phi3-vision")
        fixture.options.keepsVisionEncoder = true
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        _ = try await text(
            session.generate(fixture.question, images: [fixture.picture], options: GenerationOptions(maxNewTokens: 1)))
        let loaded = await session.isVisionLoaded
        XCTAssertTrue(loaded)
    }

    func testPackagesAreCompiledOnceAndTheStepsAreTold() async throws {
        let fixture = try Fixture("phi3-vision")
        let steps = Steps()
        _ = try await VisionLanguageSession.open(fixture.folder, options: fixture.options) { steps.add($0) }
        XCTAssertEqual(fixture.replay.events.filter { $0.hasPrefix("compile") }.count, 5)
        XCTAssertEqual(steps.all.filter { $0.phase == .compiling }.map(\.done), [0, 1, 2, 3, 4])
        XCTAssertEqual(steps.all.last?.package, "head.mlpackage")
        _ = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        XCTAssertEqual(fixture.replay.events.filter { $0.hasPrefix("compile") }.count, 5, "compiled again")
        try fixture.options.compiledModels?.removeAll()
        _ = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        XCTAssertEqual(fixture.replay.events.filter { $0.hasPrefix("compile") }.count, 10)
    }

    func testEachFunctionRunsWhereItsPackageAdvisesUnlessTold() async throws {
        var fixture = try Fixture("phi3-vision")
        _ = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        XCTAssertTrue(fixture.replay.events.contains("load embed_tokens.mlmodelc tokens_1 cpuOnly"))
        XCTAssertTrue(fixture.replay.events.contains("load decoder_2_of_2.mlmodelc prefill cpuAndNeuralEngine"))
        fixture.options.computeUnits = .cpuAndGPU
        _ = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        XCTAssertTrue(fixture.replay.events.contains("load embed_tokens.mlmodelc tokens_1 cpuAndGPU"))
    }

    func testAnAnswerThatNobodyTakesStops() async throws {
        let fixture = try Fixture("phi3-vision")
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        let opened = fixture.replay.hold("run head main", 3)
        let options = try GenerationOptions()
        for try await _ in session.generate(fixture.question, images: [fixture.picture], options: options) { break }
        opened.signal()
        let run = await session.lastRun  // waits until the session is free
        XCTAssertNil(run)
        XCTAssertLessThanOrEqual(fixture.replay.events.filter { $0 == "run head main" }.count, 3)
    }

    func testACancelledTaskGetsNoMoreAndNoError() async throws {
        let fixture = try Fixture("phi3-vision")
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        let opened = fixture.replay.hold("run decoder_2_of_2 prefill", 2)
        let options = try GenerationOptions()
        let task = Task {
            try await text(session.generate(fixture.question, images: [fixture.picture], options: options))
        }
        while !fixture.replay.events.contains("run decoder_2_of_2 prefill") { await Task.yield() }
        task.cancel()
        opened.signal()
        let answer = try await task.value
        XCTAssertEqual(answer, "")
        let run = await session.lastRun
        XCTAssertNil(run)
        XCTAssertFalse(fixture.replay.events.contains("run head main"))
    }

    func testAfterAnErrorTheSameQuestionIsAnswered() async throws {
        let fixture = try Fixture("phi3-vision")
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        fixture.replay.fail(StandInError("the Neural Engine is busy"))
        do {
            _ = try await text(
                session.generate(fixture.question, images: [fixture.picture], options: GenerationOptions()))
            XCTFail("that should have failed")
        } catch let error as NexusEdgeError {
            XCTAssertTrue(error.message.contains("vision_encoder.mlpackage, function crops_1"), error.message)
        }
        fixture.replay.recover()
        let answer = try await text(
            session.generate(fixture.question, images: [fixture.picture], options: GenerationOptions()))
        XCTAssertEqual(answer, fixture.answer)
    }

    func testAClosedSessionSaysSo() async throws {
        let fixture = try Fixture("phi3-vision")
        let session = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
        await session.close()
        do {
            _ = try await text(session.generate("?", options: GenerationOptions()))
            XCTFail("that should have failed")
        } catch let error as NexusEdgeError {
            XCTAssertEqual(error, .input("the session was closed; open it again"))
        }
    }

    func testAPackageOfAnotherBundleIsRefused() async throws {
        let fixture = try Fixture("phi3-vision")
        StandIn.backend = try Replay(fixture.folder, manifest: String(repeating: "0", count: 64))
        do {
            _ = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
            XCTFail("that should have failed")
        } catch let error as NexusEdgeError {
            XCTAssertTrue(error.message.contains("another bundle"), error.message)
        }
    }

    func testABundleThatComparesDoesNotAnswer() async throws {
        let fixture = try Fixture("biomedclip")
        do {
            _ = try await VisionLanguageSession.open(fixture.folder, options: fixture.options)
            XCTFail("that should have failed")
        } catch let error as NexusEdgeError {
            XCTAssertTrue(error.message.contains("does not write"), error.message)
        }
    }
}

private final class Steps: @unchecked Sendable {
    private let lock = NSLock()
    private var steps: [OpeningStep] = []

    var all: [OpeningStep] { lock.withLock { steps } }

    func add(_ step: OpeningStep) { lock.withLock { steps.append(step) } }
}
#endif
