import Foundation
import NexusEdge
import Observation

/// Probabilities of labels for an image. Labels are embedded once and kept until they change.
@MainActor @Observable
final class ClassifyModel {
    enum Phase: Equatable {
        case idle, working
        case failed(String)
    }

    private(set) var phase = Phase.idle
    private(set) var result: Classification?

    private var opened: (model: InstalledModel, options: SessionOptions, session: DualEncoderSession)?
    private var bank: (labels: [String], bank: LabelBank)?
    private var task: Task<Void, Never>?

    /// - Parameter text: labels, one a line
    func classify(_ picture: ChosenPicture, _ text: String, _ model: InstalledModel, _ settings: AppSettings) {
        task?.cancel()
        phase = .working
        task = Task {
            do {
                let found = try await classification(picture, Self.labels(in: text), model, settings.session)
                try Task.checkCancellation()
                (result, phase) = (found, .idle)
            } catch is CancellationError {
                return  // a newer image is on its way
            } catch {
                phase = .failed(error.localizedDescription)
            }
        }
    }

    private func classification(
        _ picture: ChosenPicture, _ labels: [String], _ model: InstalledModel, _ options: SessionOptions
    ) async throws -> Classification {
        let session = try await session(model, options)
        return try await session.classify(picture.pixels, bank(labels, session))
    }

    private func bank(_ labels: [String], _ session: DualEncoderSession) async throws -> LabelBank {
        if let bank, bank.labels == labels { return bank.bank }
        let made = try await session.labelBank(PromptSet(labels: labels))
        bank = (labels, made)
        return made
    }

    private func session(_ model: InstalledModel, _ options: SessionOptions) async throws -> DualEncoderSession {
        if let opened, opened.model == model, opened.options == options { return opened.session }
        let session = try await DualEncoderSession.open(model.folder, options: options)
        (opened, bank) = ((model, options, session), nil)
        return session
    }

    private static func labels(in text: String) -> [String] {
        text.split(whereSeparator: \.isNewline)
            .map { $0.trimmingCharacters(in: .whitespaces) }
            .filter { !$0.isEmpty }
    }
}
