import Foundation

/// From a text to the words that WordPiece cuts up, as `BertNormalizer` and `BertPreTokenizer` of tokenizer.json do.
///
/// Properties of characters are those of the system's Unicode. The Rust library behind the original has Unicode 8, so
/// some 600 marks of scripts that came later are words there and not here.
package struct BertNormalizer: Sendable {
    let cleans, splitsChinese, lowers, stripsAccents: Bool

    package init(cleans: Bool, splitsChinese: Bool, lowers: Bool, stripsAccents: Bool) {
        (self.cleans, self.splitsChinese) = (cleans, splitsChinese)
        (self.lowers, self.stripsAccents) = (lowers, stripsAccents)
    }

    /// Words and single punctuation marks, in order.
    package func words(_ text: some Sequence<Unicode.Scalar>) -> [[Unicode.Scalar]] {
        var words: [[Unicode.Scalar]] = [], word: [Unicode.Scalar] = []
        func end() {
            if !word.isEmpty { words.append(word) }
            word = []
        }
        for scalar in normalised(text) {
            if scalar.properties.isWhitespace {
                end()
            } else if Self.isPunctuation(scalar) {
                end()
                words.append([scalar])
            } else {
                word.append(scalar)
            }
        }
        end()
        return words
    }

    private func normalised(_ text: some Sequence<Unicode.Scalar>) -> [Unicode.Scalar] {
        var scalars = Array(text)
        if cleans {
            scalars = scalars.filter { !Self.isDropped($0) }.map { $0.properties.isWhitespace ? " " : $0 }
        }
        if splitsChinese { scalars = scalars.flatMap { Self.isChinese($0) ? [" ", $0, " "] : [$0] } }
        if stripsAccents {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: scalars)
            scalars = String(view).decomposedStringWithCanonicalMapping.unicodeScalars
                .filter { $0.properties.generalCategory != .nonspacingMark }
        }
        if lowers { scalars = scalars.flatMap { Array($0.properties.lowercaseMapping.unicodeScalars) } }
        return scalars
    }

    /// NUL, the replacement character, and control and private characters that are not white space.
    private static func isDropped(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "\t", "\n", "\r": return false
        case "\0", "\u{FFFD}": return true
        default: break
        }
        switch scalar.properties.generalCategory {
        case .control, .format, .privateUse: return true
        default: return false
        }
    }

    private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation, .initialPunctuation,
            .finalPunctuation, .otherPunctuation:
            return true
        default:  // ASCII symbols such as $ and + count as well
            return scalar.isASCII && (0x21...0x7E).contains(scalar.value) && !scalar.properties.isAlphabetic
                && scalar.properties.generalCategory != .decimalNumber
        }
    }

    private static func isChinese(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
            0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F:
            return true
        default: return false
        }
    }
}
