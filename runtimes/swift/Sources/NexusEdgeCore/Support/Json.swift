import Foundation

/// A JSON value. Keys of an object are compared code point by code point, which Foundation's reader does not do.
package enum Json: Sendable {
    case null
    case bool(Bool)
    case number(Double)
    case text(String)
    case list([Json])
    case object([ExactText: Json])

    /// Reads a whole file; throws `.bundle` if it is missing or no JSON object.
    static func object(at url: URL) throws -> JsonObject {
        let data: Data
        do {
            data = try Data(contentsOf: url)
        } catch {
            throw NexusEdgeError.bundle("\(url.path) cannot be read; copy the bundle's whole coreml folder")
        }
        guard case .object(let fields) = try parse(data, source: url.path) else {
            throw NexusEdgeError.bundle("\(url.path) holds no JSON object; export the bundle again")
        }
        return JsonObject(fields: fields, source: url.path)
    }

    /// Throws `.bundle`, with `source` as the name of the text.
    package static func parse(_ data: Data, source: String) throws -> Json {
        do {
            return try data.withUnsafeBytes { bytes in
                var parser = JsonParser(bytes: bytes)
                return try parser.document()
            }
        } catch let error as JsonParser.Failure {
            throw NexusEdgeError.bundle("\(source) is not valid JSON at byte \(error.place); export the bundle again")
        }
    }
}

/// An object with the name of its file, for messages.
package struct JsonObject: Sendable {
    package let fields: [ExactText: Json]
    package let source: String

    package init(fields: [ExactText: Json], source: String) { (self.fields, self.source) = (fields, source) }

    package subscript(_ key: String) -> Json? { fields[ExactText(key)] }

    /// Whether nothing is there, or null.
    package func isAbsent(_ key: String) -> Bool {
        if case nil = self[key] { return true }
        if case .null? = self[key] { return true }
        return false
    }

    package func text(_ key: String) throws -> String {
        guard case .text(let value)? = self[key] else { throw wrong(key, "a text") }
        return value
    }

    /// nil where the key is absent or null.
    func optionalText(_ key: String) throws -> String? { isAbsent(key) ? nil : try text(key) }

    package func texts(_ key: String) throws -> [String] {
        try list(key).map { value in
            guard case .text(let text) = value else { throw wrong(key, "a list of texts") }
            return text
        }
    }

    func positive(_ key: String) throws -> Int {
        let value = try integer(key)
        guard value > 0 else { throw wrong(key, "above 0") }
        return value
    }

    package func integer(_ key: String) throws -> Int {
        guard case .number(let value)? = self[key], let whole = Int(exactly: value) else {
            throw wrong(key, "a whole number")
        }
        return whole
    }

    package func number(_ key: String) throws -> Double {
        guard case .number(let value)? = self[key] else { throw wrong(key, "a number") }
        return value
    }

    /// `fallback` where the key is absent or null.
    package func bool(_ key: String, _ fallback: Bool) throws -> Bool {
        if isAbsent(key) { return fallback }
        guard case .bool(let value)? = self[key] else { throw wrong(key, "true or false") }
        return value
    }

    package func list(_ key: String) throws -> [Json] {
        guard case .list(let values)? = self[key] else { throw wrong(key, "a list") }
        return values
    }

    package func integers(_ key: String) throws -> [Int] {
        try list(key).map { value in
            guard case .number(let number) = value, let whole = Int(exactly: number) else {
                throw wrong(key, "a list of whole numbers")
            }
            return whole
        }
    }

    package func objects(_ key: String) throws -> [JsonObject] {
        try list(key).map { value in
            guard case .object(let fields) = value else { throw wrong(key, "a list of objects") }
            return JsonObject(fields: fields, source: source)
        }
    }

    /// Empty where the key is absent or null.
    func object(_ key: String) throws -> JsonObject {
        if isAbsent(key) { return JsonObject(fields: [:], source: source) }
        guard case .object(let fields)? = self[key] else { throw wrong(key, "an object") }
        return JsonObject(fields: fields, source: source)
    }

    /// An object that must be there.
    package func part(_ key: String) throws -> JsonObject {
        guard case .object(let fields)? = self[key] else { throw wrong(key, "an object") }
        return JsonObject(fields: fields, source: "\(source), \(key)")
    }

    /// All values, which must be objects, by their keys.
    func parts() throws -> [String: JsonObject] {
        // Two keys that Swift takes for one text, such as é in two spellings, may be in a file that somebody made up.
        try Dictionary(fields.keys.map { ($0.text, try part($0.text)) }, uniquingKeysWith: { first, _ in first })
    }

    /// Throws unless a text is the one that is computed here.
    func only(_ key: String, _ known: String) throws {
        let value = try text(key)
        guard value == known else { throw unknown(key, value) }
    }

    /// Throws unless a number is the one that is computed here.
    func only(_ key: String, _ known: Int) throws {
        let value = try integer(key)
        guard value == known else { throw unknown(key, String(value)) }
    }

    /// A word of the vocabulary that this package does not have.
    func unknown(_ key: String, _ value: String) -> NexusEdgeError {
        .bundle("\(source): \(key) is \(value), which this package does not compute; use a newer one, or another bundle")
    }

    package func wrong(_ key: String, _ wanted: String) -> NexusEdgeError {
        .bundle("\(source): \(key) is missing or not \(wanted); export the bundle again")
    }
}
