import Foundation
import NexusEdge
import Observation

/// A conversation about an image: opens the session when it is needed, streams the answer, and can be stopped.
@MainActor @Observable
final class AnswerModel {
    struct Turn: Identifiable, Sendable {
        let id = UUID()
        let question: String
        var answer = ""
    }

    enum Phase: Equatable {
        case idle, answering
        case opening(OpeningStep?)
        case failed(String)
    }

    private(set) var phase = Phase.idle
    private(set) var turns: [Turn] = []
    private(set) var lastRun: RunStats?

    private var conversation = Conversation()
    private var picture: ChosenPicture?
    private var task: Task<Void, Never>?
    private var opened: (model: InstalledModel, options: AppSettings, session: VisionLanguageSession)?

    var isBusy: Bool { task != nil }

    /// Asks about the image; a question about another one, or to another model, begins anew.
    func ask(_ question: String, about picture: ChosenPicture?, _ model: InstalledModel, _ settings: AppSettings) {
        guard task == nil else { return }
        if self.picture != picture || opened?.model != model { startOver() }
        self.picture = picture
        conversation.ask(question, images: conversation.images.isEmpty ? [picture?.pixels].compactMap { $0 } : [])
        turns.append(Turn(question: question))
        task = Task {
            await answer(model, settings)
            task = nil
        }
    }

    /// What was said so far stays.
    func stop() { task?.cancel() }

    func startOver() {
        guard task == nil else { return }
        (turns, lastRun, phase) = ([], nil, .idle)
        conversation = Conversation()
    }

    /// Gives the model's memory back, unless it is answering.
    func release() async {
        guard task == nil, let session = opened?.session else { return }
        opened = nil
        await session.close()
    }

    private func answer(_ model: InstalledModel, _ settings: AppSettings) async {
        do {
            let session = try await session(model, settings)
            phase = .answering
            let options = try GenerationOptions(maxNewTokens: settings.maxNewTokens)
            for try await piece in session.answer(conversation, options: options) {
                turns[turns.count - 1].answer += piece
            }
            lastRun = await session.lastRun
            finishTurn()
            phase = .idle
        } catch is CancellationError {
            finishTurn()
            phase = .idle
        } catch {
            finishTurn()
            phase = .failed(error.localizedDescription)
        }
    }

    /// A question without an answer is taken back, so that the next one does not follow on it.
    private func finishTurn() {
        guard let turn = turns.last else { return }
        if turn.answer.isEmpty {
            conversation.takeBack()
        } else {
            conversation.answered(turn.answer)
        }
    }

    private func session(_ model: InstalledModel, _ settings: AppSettings) async throws -> VisionLanguageSession {
        if let opened, opened.model == model, opened.options.session == settings.session { return opened.session }
        if let old = opened?.session {
            opened = nil
            await old.close()  // two do not fit into a phone
        }
        phase = .opening(nil)
        let session = try await VisionLanguageSession.open(model.folder, options: settings.session) { step in
            Task { @MainActor in self.show(step) }
        }
        opened = (model, settings, session)
        return session
    }

    private func show(_ step: OpeningStep) {
        if case .opening = phase { phase = .opening(step) }
    }
}
