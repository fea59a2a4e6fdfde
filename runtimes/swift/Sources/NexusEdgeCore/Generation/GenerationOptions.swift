/// How an answer is generated.
public struct GenerationOptions: Sendable, Equatable {
    /// Most tokens of the answer.
    public let maxNewTokens: Int
    /// 0 always takes the likeliest token; higher values draw, the higher the more freely.
    public let temperature: Double
    /// Draw among the likeliest tokens that together have this probability.
    public let topP: Double
    /// Of the draws; nil takes a new one each time.
    public let seed: UInt64?
    /// Texts that end the answer and are not part of it.
    public let stop: [String]

    /// Throws `.input` for a value out of range.
    public init(
        maxNewTokens: Int = 256, temperature: Double = 0, topP: Double = 1, seed: UInt64? = nil, stop: [String] = []
    ) throws {
        guard maxNewTokens >= 1 else {
            throw NexusEdgeError.input("maxNewTokens is \(maxNewTokens); it must be 1 or more")
        }
        guard temperature.isFinite, temperature >= 0 else {
            throw NexusEdgeError.input("temperature is \(temperature); it must be 0 (greedy) or more")
        }
        guard topP > 0, topP <= 1 else {
            throw NexusEdgeError.input("topP is \(topP); it must be above 0 and at most 1")
        }
        _ = try StopStrings(stop)
        (self.maxNewTokens, self.temperature, self.topP) = (maxNewTokens, temperature, topP)
        (self.seed, self.stop) = (seed, stop)
    }
}

/// Why an answer ended.
public enum Finish: String, Sendable {
    /// A stop token or a stop text came.
    case stop
    /// `maxNewTokens` were reached.
    case length
    /// The model's context was full.
    case context
    /// Nobody took the rest.
    case interrupted
}

/// Counts and times (seconds) of one answer.
public struct RunStats: Sendable {
    /// With those of images, of which there are `imageTokens`.
    public internal(set) var promptTokens = 0, imageTokens = 0
    /// Of the prompt, taken from the caches.
    public internal(set) var reusedTokens = 0
    /// Of the answer, without the token that ended it.
    public internal(set) var newTokens = 0
    /// Tokenizer and images to pixels; vision encoder; the rest of the prompt; all decode steps.
    public internal(set) var prepareSeconds = 0.0, visionSeconds = 0.0, prefillSeconds = 0.0, decodeSeconds = 0.0
    /// The first new token needs none.
    public internal(set) var decodeSteps = 0
    public internal(set) var finish = Finish.interrupted

    public init() {}

    /// Time to the first token.
    public var firstTokenSeconds: Double { prepareSeconds + visionSeconds + prefillSeconds }

    public var decodeTokensPerSecond: Double { decodeSeconds > 0 ? Double(decodeSteps) / decodeSeconds : 0 }
}
