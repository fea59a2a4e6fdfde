import Foundation

/// RFC 8259, over UTF-8 bytes.
struct JsonParser {
    struct Failure: Error {
        let place: Int
    }

    /// Deeper nesting is an attack on the stack.
    private static let deepest = 200

    private let bytes: UnsafeRawBufferPointer
    private var place = 0
    private var depth = 0

    init(bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    mutating func document() throws -> Json {
        let result = try value()
        skipSpace()
        guard place == bytes.count else { throw Failure(place: place) }
        return result
    }

    private mutating func value() throws -> Json {
        skipSpace()
        guard place < bytes.count else { throw Failure(place: place) }
        switch bytes[place] {
        case UInt8(ascii: "{"): return try nested { try $0.object() }
        case UInt8(ascii: "["): return try nested { try $0.list() }
        case UInt8(ascii: "\""): return .text(try string())
        case UInt8(ascii: "t"): return try word("true", .bool(true))
        case UInt8(ascii: "f"): return try word("false", .bool(false))
        case UInt8(ascii: "n"): return try word("null", .null)
        default: return .number(try number())
        }
    }

    private mutating func nested(_ read: (inout JsonParser) throws -> Json) throws -> Json {
        depth += 1
        guard depth <= Self.deepest else { throw Failure(place: place) }
        defer { depth -= 1 }
        place += 1
        return try read(&self)
    }

    private mutating func object() throws -> Json {
        var fields: [ExactText: Json] = [:]
        if take("}") { return .object(fields) }
        repeat {
            skipSpace()
            guard place < bytes.count, bytes[place] == UInt8(ascii: "\"") else { throw Failure(place: place) }
            let key = ExactText(try string())
            guard take(":") else { throw Failure(place: place) }
            fields[key] = try value()
        } while take(",")
        guard take("}") else { throw Failure(place: place) }
        return .object(fields)
    }

    private mutating func list() throws -> Json {
        var values: [Json] = []
        if take("]") { return .list(values) }
        repeat { values.append(try value()) } while take(",")
        guard take("]") else { throw Failure(place: place) }
        return .list(values)
    }

    private mutating func number() throws -> Double {
        let start = place
        while place < bytes.count, "+-.eE0123456789".utf8.contains(bytes[place]) { place += 1 }
        let text = String(decoding: bytes[start..<place], as: UTF8.self)
        guard let value = Double(text), value.isFinite, text.first != "+" else { throw Failure(place: start) }
        return value
    }

    private mutating func string() throws -> String {
        place += 1
        var units: [UInt8] = []
        while place < bytes.count {
            let byte = bytes[place]
            place += 1
            switch byte {
            case UInt8(ascii: "\""):
                let text = String(decoding: units, as: UTF8.self)
                guard text.utf8.elementsEqual(units) else { throw Failure(place: place) }  // bad UTF-8 is replaced
                return text
            case UInt8(ascii: "\\"): units += try escaped()
            case 0..<0x20: throw Failure(place: place - 1)
            default: units.append(byte)
            }
        }
        throw Failure(place: place)
    }

    /// What stands behind a backslash, as UTF-8.
    private mutating func escaped() throws -> [UInt8] {
        guard place < bytes.count else { throw Failure(place: place) }
        let byte = bytes[place]
        place += 1
        switch byte {
        case UInt8(ascii: "n"): return [10]
        case UInt8(ascii: "t"): return [9]
        case UInt8(ascii: "r"): return [13]
        case UInt8(ascii: "b"): return [8]
        case UInt8(ascii: "f"): return [12]
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
        case UInt8(ascii: "u"): return try escapedScalar()
        default: throw Failure(place: place - 1)
        }
    }

    private mutating func escapedScalar() throws -> [UInt8] {
        var code = try fourDigits()
        if 0xD800..<0xDC00 ~= code {  // the first half of a pair
            guard try word("\\u", true) else { throw Failure(place: place) }
            let second = try fourDigits()
            guard 0xDC00..<0xE000 ~= second else { throw Failure(place: place) }
            code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00)
        }
        guard let scalar = Unicode.Scalar(code) else { throw Failure(place: place) }
        return Array(UTF8.encode(scalar)!)
    }

    private mutating func fourDigits() throws -> UInt32 {
        guard place + 4 <= bytes.count else { throw Failure(place: place) }
        let digits = String(decoding: bytes[place..<place + 4], as: UTF8.self)
        guard let code = UInt32(digits, radix: 16), digits.first != "+" else { throw Failure(place: place) }
        place += 4
        return code
    }

    private mutating func word<T>(_ text: String, _ result: T) throws -> T {
        guard bytes[place...].starts(with: text.utf8) else { throw Failure(place: place) }
        place += text.utf8.count
        return result
    }

    /// Whether the next byte behind white space is this one, which is then behind us.
    private mutating func take(_ character: Character) -> Bool {
        skipSpace()
        guard place < bytes.count, bytes[place] == character.asciiValue else { return false }
        place += 1
        return true
    }

    private mutating func skipSpace() {
        while place < bytes.count, [9, 10, 13, 32].contains(bytes[place]) { place += 1 }
    }
}
