/// Replaces &name; and &#number; by what they stand for.
enum HtmlEntities {
    /// - Parameter lenient: as browsers and Python's `html.unescape` do it, numbers and the oldest names need no
    ///   semicolon, and other letters may follow at once
    static func unescaped(_ scalars: [Unicode.Scalar], lenient: Bool) -> [Unicode.Scalar] {
        var result: [Unicode.Scalar] = []
        var place = 0
        while place < scalars.count {
            if scalars[place] == "&", let (scalar, stop) = entity(scalars, behind: place + 1, lenient) {
                result.append(scalar)
                place = stop
            } else {
                result.append(scalars[place])
                place += 1
            }
        }
        return result
    }

    private static func entity(
        _ scalars: [Unicode.Scalar], behind place: Int, _ lenient: Bool
    ) -> (Unicode.Scalar, stop: Int)? {
        let isNumber = scalars[place...].first == "#"
        let isHex = isNumber && ["x", "X"].contains(scalars[place...].dropFirst().first)
        let body = scalars[(place + (isHex ? 2 : isNumber ? 1 : 0))...].prefix { scalar in
            if isHex { return scalar.properties.isASCIIHexDigit }
            return ("0"..."9").contains(scalar) || !isNumber && scalar.isASCII && scalar.properties.isAlphabetic
        }
        let closed = body.endIndex < scalars.count && scalars[body.endIndex] == ";"
        guard !body.isEmpty, closed || lenient else { return nil }
        let text = body.reduce(into: "") { $0.unicodeScalars.append($1) }
        if isNumber { return (character(text, isHex), body.endIndex + (closed ? 1 : 0)) }
        if closed, let scalar = named[text] { return (scalar, body.endIndex + 1) }
        guard lenient else { return nil }
        for length in stride(from: text.count, to: 1, by: -1) {
            if let scalar = oldest[String(text.prefix(length))] { return (scalar, body.startIndex + length) }
        }
        return nil
    }

    /// The character of a number. HTML5 leaves no hole: what is no character becomes the replacement character, and
    /// 128 to 159 are what Windows-1252 has there.
    private static func character(_ digits: String, _ isHex: Bool) -> Unicode.Scalar {
        let code = UInt32(digits, radix: isHex ? 16 : 10) ?? 0
        if 0x80...0x9F ~= code { return CleanText.windows[Int(code) - 0x80] }
        return code == 0 ? "\u{FFFD}" : Unicode.Scalar(code) ?? "\u{FFFD}"
    }

    /// Names of the characters from U+00A0 on, HTML 4's Latin 1.
    private static let latin = """
        nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr deg plusmn sup2 sup3 acute \
        micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest Agrave Aacute Acirc Atilde Auml Aring \
        AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml ETH Ntilde Ograve Oacute Ocirc Otilde Ouml \
        times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig agrave aacute acirc atilde auml aring aelig ccedil \
        egrave eacute ecirc euml igrave iacute icirc iuml eth ntilde ograve oacute ocirc otilde ouml divide oslash \
        ugrave uacute ucirc uuml yacute thorn yuml
        """

    /// Greek letters, from Α and from α on; the capital form of ς is not one.
    private static let greek = """
        alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi omicron pi rho sigmaf sigma tau \
        upsilon phi chi psi omega
        """

    private static let others: [String: Unicode.Scalar] = [
        "amp": "&", "lt": "<", "gt": ">", "quot": "\"", "apos": "'", "ndash": "–", "mdash": "—", "lsquo": "‘",
        "rsquo": "’", "sbquo": "‚", "ldquo": "“", "rdquo": "”", "bdquo": "„", "bull": "•", "hellip": "…",
        "prime": "′", "Prime": "″", "trade": "™", "larr": "←", "uarr": "↑", "rarr": "→", "darr": "↓", "harr": "↔",
        "part": "∂", "sum": "∑", "minus": "−", "radic": "√", "infin": "∞", "cap": "∩", "cup": "∪", "int": "∫",
        "sim": "∼", "asymp": "≈", "ne": "≠", "equiv": "≡", "le": "≤", "ge": "≥", "sub": "⊂", "sup": "⊃",
        "ensp": "\u{2002}", "emsp": "\u{2003}", "thinsp": "\u{2009}", "permil": "‰", "euro": "€", "dagger": "†",
        "Dagger": "‡", "OElig": "Œ", "oelig": "œ", "Scaron": "Š", "scaron": "š", "Yuml": "Ÿ", "fnof": "ƒ",
    ]

    /// Names that were there before the semicolon was asked for.
    private static let oldest: [String: Unicode.Scalar] = {
        let names = latin.split(separator: " ").map(String.init) + ["amp", "lt", "gt", "quot"]
        return Dictionary(uniqueKeysWithValues: names.map { ($0, named[$0]!) })
    }()

    private static let named: [String: Unicode.Scalar] = {
        var result = others
        for (place, name) in latin.split(separator: " ").enumerated() {
            result[String(name)] = Unicode.Scalar(0xA0 + UInt32(place))
        }
        for (place, name) in greek.split(separator: " ").enumerated() {
            result[String(name)] = Unicode.Scalar(0x3B1 + UInt32(place))
            if name != "sigmaf" {
                result[name.prefix(1).uppercased() + name.dropFirst()] = Unicode.Scalar(0x391 + UInt32(place))
            }
        }
        return result
    }()
}
