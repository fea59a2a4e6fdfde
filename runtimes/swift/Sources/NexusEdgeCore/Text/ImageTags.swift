/// The tags <|image_1|>, <|image_2|>, ... that stand for images in a prompt.
enum ImageTags {
    /// As runtime facts spell a tag.
    static let form = "<|image_{number}|>"

    private static let start = Array("<|image_".unicodeScalars), end = Array("|>".unicodeScalars)

    /// The texts between the tags, and the digits of each tag: one text more than tags.
    static func split(_ text: String) -> (texts: [String], numbers: [[Int]]) {
        let scalars = Array(text.unicodeScalars)
        var texts: [String] = [], numbers: [[Int]] = []
        var begin = 0, place = 0
        while place < scalars.count {
            guard let (digits, stop) = tag(scalars, at: place) else {
                place += 1
                continue
            }
            texts.append(string(scalars[begin..<place]))
            numbers.append(digits)
            (begin, place) = (stop, stop)
        }
        return (texts + [string(scalars[begin...])], numbers)
    }

    /// Texts and image numbers of a whole prompt with tags for `images` images; throws `.prompt` as `check`.
    static func split(_ text: String, images: Int) throws -> (texts: [String], numbers: [Int]) {
        let (texts, digits) = split(text)
        guard digits.allSatisfy({ $0.count <= 9 }) else {
            throw NexusEdgeError.prompt(
                "an image tag in the prompt has more than 9 digits; number the images 1, 2, ...")
        }
        let numbers = digits.map { $0.reduce(0) { 10 * $0 + $1 } }
        try check(numbers, images: images)
        return (texts, numbers)
    }

    /// Throws `.prompt` unless the numbers are 1 to `images` without a gap, in any order.
    static func check(_ numbers: [Int], images: Int) throws {
        let distinct = Set(numbers).sorted()
        guard distinct == Array(1..<distinct.count + 1) else {
            throw NexusEdgeError.prompt(
                "the prompt's image tags are numbered \(distinct); number them 1, 2, ... without gaps")
        }
        guard distinct.count == images else {
            throw NexusEdgeError.prompt(
                "the prompt has tags for \(distinct.count) image\(distinct.count == 1 ? "" : "s"), \(images) given; "
                    + "give one image for each <|image_N|> tag")
        }
    }

    private static func tag(_ text: [Unicode.Scalar], at place: Int) -> (digits: [Int], stop: Int)? {
        guard text[place...].starts(with: start) else { return nil }
        // Decimal digits of any script count, as in the original.
        let digits = text[(place + start.count)...].prefix { $0.properties.generalCategory == .decimalNumber }
        guard !digits.isEmpty, text[digits.endIndex...].starts(with: end) else { return nil }
        return (digits.map { Int($0.properties.numericValue ?? 0) }, digits.endIndex + end.count)
    }

    private static func string(_ scalars: ArraySlice<Unicode.Scalar>) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}
