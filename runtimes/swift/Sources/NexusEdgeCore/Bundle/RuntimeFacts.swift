import Foundation

/// What a runtime must know of a model: the section `facts` of a manifest.
///
/// The words are a closed vocabulary. One that is not computed here is refused, with its name.
public enum RuntimeFacts: Sendable, Equatable {
    case vlm(VlmFacts)
    case dualEncoder(DualEncoderFacts)

    init(_ object: JsonObject) throws {
        switch try object.text("kind") {
        case "vlm": self = .vlm(try VlmFacts(object))
        case "dual_encoder": self = .dualEncoder(try DualEncoderFacts(object))
        case let kind: throw object.unknown("kind", kind)
        }
    }
}

/// Of a model that answers a prompt with images.
public struct VlmFacts: Sendable, Equatable {
    /// Crops of an image at most, without the global view.
    public let mostCrops: Int
    /// Whether the features of an image begin with its global view, and not with its crops.
    public let globalFirst: Bool
    /// Tokens that end an answer.
    public let stopIds: [Int]
    /// Up to so many tokens LongRoPE's short factors serve; nil for a model without LongRoPE.
    public let ropeLimit: Int?

    let normalisation: Normalisation
    let turns: Turns
    /// Tokens that text never becomes.
    let control: [String]

    package init(
        mostCrops: Int, mean: [Double], deviation: [Double], globalFirst: Bool = false, turns: Turns, control: [String],
        stopIds: [Int], ropeLimit: Int? = nil
    ) {
        (self.mostCrops, self.globalFirst, self.stopIds, self.ropeLimit) = (mostCrops, globalFirst, stopIds, ropeLimit)
        normalisation = Normalisation(mean: mean, deviation: deviation)
        (self.turns, self.control) = (turns, control)
    }

    package init(_ object: JsonObject) throws {
        let images = try object.part("images")
        try images.only("kind", "hd_crops")
        try images.only("view", HdGeometry.crop)
        try images.only("tokens_per_side", HdGeometry.side)
        try images.only("padding", HdGeometry.white)
        try images.only("resample", "bilinear")
        try images.only("overview_resample", "bicubic")
        mostCrops = try images.positive("most_crops")
        normalisation = try Normalisation(images)
        globalFirst = try Self.globalFirst(try object.part("layout"))
        try object.only("merge", "replace")
        let tokenizer = try object.part("tokenizer")
        try tokenizer.only("kind", "bpe")
        control = try tokenizer.part("special").fields.keys.map(\.text)
        let place = try object.part("image_place")
        try place.only("kind", "tags")
        try place.only("text", ImageTags.form)
        turns = try Turns(try object.part("chat"))
        stopIds = try object.integers("stop_ids")
        let positions = try object.part("positions")
        switch try positions.text("kind") {
        case "sequential": ropeLimit = nil
        case "longrope": ropeLimit = try positions.positive("limit")
        case let kind: throw positions.unknown("kind", kind)
        }
    }

    private static func globalFirst(_ layout: JsonObject) throws -> Bool {
        guard Set(try layout.texts("row_ends")) == ["crops", "overview"] else {
            throw layout.unknown("row_ends", try layout.texts("row_ends").joined(separator: ", "))
        }
        switch try layout.texts("order") {
        case ["crops", "separator", "overview"]: return false
        case ["overview", "separator", "crops"]: return true
        case let order: throw layout.unknown("order", order.joined(separator: ", "))
        }
    }
}

/// The frames of a chat template.
package struct Turns: Sendable, Equatable {
    /// What stands around the texts of one message, and between two of them.
    package struct Frame: Sendable, Equatable {
        package let before, between, after: String

        package init(before: String, between: String = "", after: String) {
            (self.before, self.between, self.after) = (before, between, after)
        }
    }

    package let frames: [ChatMessage.Role: Frame]
    /// Opens the answer, unless the last message is the assistant's.
    package let reply: String
    /// What stands for an image; {image} are its positions.
    package let image: String
    /// Images stand before all texts of their message, wherever they were.
    package let imagesFirst: Bool

    package init(frames: [ChatMessage.Role: Frame], reply: String, image: String, imagesFirst: Bool = false) {
        (self.frames, self.reply, self.image, self.imagesFirst) = (frames, reply, image, imagesFirst)
    }

    package init(_ object: JsonObject) throws {
        try object.only("kind", "turns")
        frames = try Dictionary(
            uniqueKeysWithValues: object.part("frames").parts().map { name, frame in
                guard let role = ChatMessage.Role(rawValue: name) else { throw object.unknown("frames", name) }
                return (role, try Frame(
                    before: frame.text("before"), between: frame.text("between"), after: frame.text("after")))
            })
        reply = try object.text("reply")
        image = try object.text("image")
        imagesFirst = try object.bool("images_first", false)
        guard image.components(separatedBy: ChatTemplate.place).count == 2 else {
            throw object.wrong("image", "a text with \(ChatTemplate.place) once")
        }
    }
}

/// Of a model that compares images and texts.
public struct DualEncoderFacts: Sendable, Equatable {
    /// Pixels per side of what the image tower takes.
    public let imageSize: Int
    /// Default sentences, {} in the place of a label.
    public let templates: [String]

    let normalisation: Normalisation
    let filter: ResizeFilter

    package init(
        imageSize: Int, mean: [Double], deviation: [Double], filter: ResizeFilter = .bicubic, templates: [String] = ["{}"]
    ) {
        (self.imageSize, self.templates, self.filter) = (imageSize, templates, filter)
        normalisation = Normalisation(mean: mean, deviation: deviation)
    }

    package init(_ object: JsonObject) throws {
        let images = try object.part("images")
        try images.only("kind", "centre_crop")
        imageSize = try images.positive("size")
        normalisation = try Normalisation(images)
        switch try images.text("resample") {
        case "bicubic": filter = .bicubic
        case "bilinear": filter = .bilinear
        case let name: throw images.unknown("resample", name)
        }
        try object.part("tokenizer").only("kind", "word_pieces")
        try object.only("score", "softmax")
        templates = try object.texts("templates")
    }
}
