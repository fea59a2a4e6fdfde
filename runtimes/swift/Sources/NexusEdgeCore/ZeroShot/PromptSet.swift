/// Labels and the sentences they are put into.
public struct PromptSet: Sendable, Equatable {
    public let labels: [String]
    /// Each holds {} once, the place of the label.
    public let templates: [String]

    /// Throws `.input` if one of them cannot be used.
    public init(labels: [String], templates: [String] = ["this is a photo of {}"]) throws {
        guard !labels.isEmpty else { throw NexusEdgeError.input("no labels; give at least one") }
        guard labels.allSatisfy({ $0.contains { !$0.isWhitespace } }) else {
            throw NexusEdgeError.input("a label is empty; each needs a word at least")
        }
        var seen = Set<ExactText>()
        for label in labels where !seen.insert(ExactText(label)).inserted {
            throw NexusEdgeError.input("label \"\(label.prefix(80))\" is there twice; give each once")
        }
        guard !templates.isEmpty else {
            throw NexusEdgeError.input("no templates; give at least one, such as \"this is a photo of {}\"")
        }
        for template in templates where Self.parts(template).count != 2 {
            throw NexusEdgeError.input(
                "template \"\(template.prefix(80))\" must hold the place of the label, {}, once")
        }
        (self.labels, self.templates) = (labels, templates)
    }

    /// Every label in every template: all labels in the first, then all in the second, and so on.
    public var prompts: [String] {
        templates.flatMap { template in
            let parts = Self.parts(template)
            return labels.map { parts[0] + $0 + parts[1] }
        }
    }

    /// Embeddings of `prompts`, one row each, to one per label: normalised, averaged over the templates, normalised
    /// again, as "Learning Transferable Visual Models From Natural Language Supervision", section 3.1.4, does.
    ///
    /// Throws `.input` if there is another number of rows than of prompts.
    public func ensemble(_ rows: [[Float]]) throws -> [[Float]] {
        guard rows.count == labels.count * templates.count, let width = rows.first?.count else {
            throw NexusEdgeError.input("\(rows.count) embeddings of \(labels.count * templates.count) prompts")
        }
        let unit = rows.map(UnitRows.normalised)
        return labels.indices.map { label in
            var mean = [Float](repeating: 0, count: width)
            for template in templates.indices {
                for (place, value) in unit[template * labels.count + label].enumerated() { mean[place] += value }
            }
            return UnitRows.normalised(mean.map { $0 / Float(templates.count) })
        }
    }

    /// What stands before and behind each {}.
    private static func parts(_ template: String) -> [String] {
        var parts = [""]
        var rest = Substring(template)
        while let brace = rest.firstRange(of: "{}") {
            parts[parts.count - 1] += rest[..<brace.lowerBound]
            parts.append("")
            rest = rest[brace.upperBound...]
        }
        parts[parts.count - 1] += rest
        return parts
    }
}
