// For tests only: {"task": ..., ...}, a line on standard input, gives a line with what the package makes of it. Python
// asks and compares with its own.
import Foundation
import NexusEdgeCore

var tasks = Tasks()
while let line = readLine() {
    let answer: Answer
    do {
        answer = try tasks.answer(Request(line))
    } catch let error as NexusEdgeError {
        answer = Answer(error: error.message)
    }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.withoutEscapingSlashes]
    FileHandle.standardOutput.write(try encoder.encode(answer) + [10])  // at once, where print would wait for more
}
