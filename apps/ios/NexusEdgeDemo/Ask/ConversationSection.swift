import NexusEdge
import SwiftUI

/// The turns so far, what is going on, and how fast it went.
struct ConversationSection: View {
    let answers: AnswerModel

    var body: some View {
        Section("Answer") {
            ForEach(answers.turns) { turn in
                VStack(alignment: .leading) {
                    Text(turn.question).font(.footnote).foregroundStyle(.secondary)
                    Text(turn.answer).textSelection(.enabled)
                }
                .accessibilityElement(children: .combine)
            }
            progress
            if let run = answers.lastRun { Text(run.summary).font(.footnote).foregroundStyle(.secondary) }
            MemoryLine()
        }
    }

    @ViewBuilder private var progress: some View {
        switch answers.phase {
        case .idle: EmptyView()
        case .answering: ProgressView("Answering")
        case .opening(let step): ProgressView(step?.summary ?? "Opening the model")
        case .failed(let message): Text(message).foregroundStyle(.red).accessibilityLabel("Error: \(message)")
        }
    }
}

/// What the app takes, and what is left to it.
private struct MemoryLine: View {
    var body: some View {
        TimelineView(.periodic(from: .now, by: 1)) { _ in
            if let used = ProcessMemory.used {
                Text(text(used)).font(.footnote).foregroundStyle(.secondary)
            }
        }
    }

    private func text(_ used: Int) -> String {
        let left = ProcessMemory.left.map { ", \($0.formatted(.byteCount(style: .memory))) left" } ?? ""
        return "Memory: \(used.formatted(.byteCount(style: .memory)))\(left)"
    }
}

extension OpeningStep {
    fileprivate var summary: String {
        let action = phase == .compiling ? "Compiling" : "Loading"
        return "\(action) \(package), \(done + 1) of \(of). The first time takes minutes."
    }
}

extension RunStats {
    fileprivate var summary: String {
        let speed = decodeTokensPerSecond.formatted(.number.precision(.fractionLength(1)))
        let first = (prepareSeconds + visionSeconds + prefillSeconds).formatted(.number.precision(.fractionLength(1)))
        return "\(promptTokens) tokens in, \(reusedTokens) of them still there; first after \(first) s; "
            + "\(newTokens) out at \(speed) tokens/s (\(finish.rawValue))"
    }
}
