import Foundation

/// Cleaning of a text before BiomedCLIP's tokenizer, as open_clip's `whitespace` mode.
///
/// open_clip runs the Python library ftfy first. All its steps are here but one: text that was decoded with the wrong
/// character set ("Ã©" for "é") is not repaired. Of HTML's 2,231 entities those of HTML 4 for letters, Greek, quotes
/// and mathematics are known, and none in capitals that HTML does not have.
package enum CleanText {
    package static func clean(_ text: String) -> String {
        var scalars = Array(text.unicodeScalars)
        if !scalars.allSatisfy(isPlain) {
            if !scalars.contains("<") { scalars = HtmlEntities.unescaped(scalars, lenient: false) }
            scalars = repaired(scalars)
            // Twice, for captions on the web are often escaped twice.
            for _ in 0..<2 { scalars = HtmlEntities.unescaped(scalars, lenient: true) }
        }
        return string(Array(scalars.split(whereSeparator: isSpace).joined(separator: [" "])))
    }

    /// ASCII without & and without control characters other than white space: nothing to repair.
    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        [9, 10].contains(scalar.value) || (0x20...0x7E).contains(scalar.value) && scalar != "&"
    }

    /// White space as Python's `str.split` sees it.
    private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }

    private static func repaired(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        let replaced = withoutTerminalEscapes(scalars).flatMap { replacement($0) }
        return Array(string(replaced).precomposedStringWithCanonicalMapping.unicodeScalars)
    }

    private static func replacement(_ scalar: Unicode.Scalar) -> [Unicode.Scalar] {
        switch scalar.value {
        case 0x2028, 0x2029: return ["\n"]
        case 0x80...0x9F:
            let printed = windows[Int(scalar.value) - 0x80]
            return printed == scalar ? [scalar] : replacement(printed)
        case 0x149: return ["'", "n"]
        case 0x02BC, 0x2018...0x201B: return ["'"]
        case 0x201C...0x201F: return ["\""]
        case 0x132, 0x133, 0x1C4...0x1CC, 0x1F1...0x1F3, 0xFB00...0xFB06,  // ligatures of Latin letters
            0x3000, 0xFF01...0xFFEF:  // of the width of a Chinese character, or half of it
            return Array(String(scalar).precomposedStringWithCompatibilityMapping.unicodeScalars)
        case 0x00...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x206A...0x206F, 0xFEFF, 0xFFF9...0xFFFC: return []
        default: return [scalar]
        }
    }

    /// Without ESC [ digits and semicolons letter, which colours a terminal.
    private static func withoutTerminalEscapes(_ scalars: [Unicode.Scalar]) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var place = 0
        while place < scalars.count {
            if scalars[place...].starts(with: ["\u{1B}", "["]) {
                let rest = scalars[(place + 2)...].drop {
                    $0 == ";" || $0.properties.generalCategory == .decimalNumber
                }
                if let last = rest.first, last.isASCII, last.properties.isAlphabetic {
                    place = rest.startIndex + 1
                    continue
                }
            }
            result.append(scalars[place])
            place += 1
        }
        return result
    }

    /// What the bytes 0x80 to 0x9F are in Windows-1252; the five that it leaves free stay.
    static let windows = Array("€\u{81}‚ƒ„…†‡ˆ‰Š‹Œ\u{8D}Ž\u{8F}\u{90}‘’“”•–—˜™š›œ\u{9D}žŸ".unicodeScalars)

    private static func string(_ scalars: [Unicode.Scalar]) -> String {
        var view = String.UnicodeScalarView()
        view.append(contentsOf: scalars)
        return String(view)
    }
}
