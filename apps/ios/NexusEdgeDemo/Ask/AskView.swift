import SwiftUI
import UIKit

/// An image, a question, and the answer as it comes.
struct AskView: View {
    let answers: AnswerModel
    @State private var model: InstalledModel?
    @State private var picture: ChosenPicture?
    @State private var question = "What is shown in this picture?"

    var body: some View {
        NavigationStack {
            Form {
                PictureChooser(picture: $picture)
                Section("Question") {
                    TextField("Question", text: $question, axis: .vertical)
                        .accessibilityLabel("Question about the image")
                    if answers.isBusy {
                        Button("Stop", systemImage: "stop.circle", role: .destructive, action: answers.stop)
                    } else {
                        Button("Ask", systemImage: "paperplane", action: ask).disabled(!canAsk)
                    }
                }
                ConversationSection(answers: answers)
                ModelChoice(purpose: .answers, chosen: $model)
            }
            .navigationTitle("Ask")
            .toolbar {
                Button("New", systemImage: "square.and.pencil", action: answers.startOver).disabled(answers.isBusy)
            }
            .onReceive(NotificationCenter.default.publisher(for: UIApplication.didReceiveMemoryWarningNotification)) { _ in
                Task { await answers.release() }
            }
        }
    }

    private var canAsk: Bool {
        model != nil && !question.trimmingCharacters(in: .whitespacesAndNewlines).isEmpty
    }

    private func ask() {
        guard let model else { return }
        answers.ask(question, about: picture, model, .current)
    }
}
