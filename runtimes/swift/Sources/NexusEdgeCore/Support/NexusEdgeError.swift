import Foundation

/// What can go wrong; each message is one line and says what, where and what to do.
public enum NexusEdgeError: Error, Equatable, Sendable {
    /// A file of the bundle is missing, damaged or of another kind, or the model computes nonsense.
    case bundle(String)
    /// The prompt and its images do not fit together, or not into the context.
    case prompt(String)
    /// An image cannot be used.
    case image(String)
    /// A value that the caller gave is out of range.
    case input(String)

    public var message: String {
        switch self {
        case .bundle(let text), .prompt(let text), .image(let text), .input(let text): return text
        }
    }
}

extension NexusEdgeError: LocalizedError, CustomStringConvertible {
    public var description: String { message }
    public var errorDescription: String? { message }
}
