/// Reads DEFLATE (RFC 1951), for the images of the tests.
struct Inflate {
    struct Damaged: Error {}

    private let input: ArraySlice<UInt8>
    private var place: Int
    private var bits: UInt32 = 0
    private var held = 0
    private var output: [UInt8] = []

    static func inflate(_ input: ArraySlice<UInt8>) throws -> [UInt8] {
        var stream = Inflate(input: input, place: input.startIndex)
        while try !stream.block() {}
        return stream.output
    }

    private init(input: ArraySlice<UInt8>, place: Int) { (self.input, self.place) = (input, place) }

    private mutating func take(_ count: Int) throws -> Int {
        while held < count {
            guard place < input.endIndex else { throw Damaged() }
            bits |= UInt32(input[place]) << UInt32(held)
            (place, held) = (place + 1, held + 8)
        }
        defer { (bits, held) = (bits >> UInt32(count), held - count) }
        return Int(bits & (1 << UInt32(count) - 1))
    }

    /// Whether it was the last one.
    private mutating func block() throws -> Bool {
        let last = try take(1) == 1
        switch try take(2) {
        case 0:
            (bits, held) = (0, 0)
            guard place + 4 <= input.endIndex else { throw Damaged() }
            let size = Int(input[place]) | Int(input[place + 1]) << 8
            guard place + 4 + size <= input.endIndex else { throw Damaged() }
            output += input[place + 4..<place + 4 + size]
            place += 4 + size
        case 1:
            let lengths = (0..<288).map { $0 < 144 ? 8 : $0 < 256 ? 9 : $0 < 280 ? 7 : 8 }
            try codes(Codes(lengths), Codes(Array(repeating: 5, count: 30)))
        case 2: try dynamic()
        default: throw Damaged()
        }
        return last
    }

    private mutating func dynamic() throws {
        let literals = try take(5) + 257, distances = try take(5) + 1, count = try take(4) + 4
        var lengths = [Int](repeating: 0, count: 19)
        for place in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15].prefix(count) {
            lengths[place] = try take(3)
        }
        let codes = Codes(lengths)
        lengths = []
        while lengths.count < literals + distances {
            switch try symbol(codes) {
            case 16:
                guard let last = lengths.last else { throw Damaged() }
                lengths += Array(repeating: last, count: try take(2) + 3)
            case 17: lengths += Array(repeating: 0, count: try take(3) + 3)
            case 18: lengths += Array(repeating: 0, count: try take(7) + 11)
            case let length: lengths.append(length)
            }
        }
        try self.codes(Codes(Array(lengths[..<literals])), Codes(Array(lengths[literals...])))
    }

    private mutating func codes(_ literals: Codes, _ distances: Codes) throws {
        while true {
            let symbol = try symbol(literals)
            if symbol < 256 {
                output.append(UInt8(symbol))
                continue
            }
            if symbol == 256 { return }
            let length = try extended(symbol - 257, base: 3, group: 4, longest: 28)
            let distance = try extended(try self.symbol(distances), base: 1, group: 2, longest: 30)
            guard distance <= output.count else { throw Damaged() }
            for _ in 0..<length { output.append(output[output.count - distance]) }
        }
    }

    /// A length or a distance: `group` symbols share a number of extra bits, which grows by one each time.
    private mutating func extended(_ symbol: Int, base: Int, group: Int, longest: Int) throws -> Int {
        if group == 4, symbol == longest { return 258 }
        guard symbol < longest else { throw Damaged() }
        let extra = max(symbol / group - 1, 0)
        let start = symbol < 2 * group ? symbol : (group + symbol % group) << extra
        return base + start + (try take(extra))
    }

    private mutating func symbol(_ codes: Codes) throws -> Int {
        var code = 0, first = 0, index = 0
        for length in 1...15 {
            code |= try take(1)
            let count = codes.counts[length]
            if code - count < first { return codes.symbols[index + code - first] }
            index += count
            first = (first + count) << 1
            code <<= 1
        }
        throw Damaged()
    }

    /// Canonical Huffman codes: how many of each length, and the symbols in their order.
    private struct Codes {
        var counts = [Int](repeating: 0, count: 16)
        var symbols: [Int] = []

        init(_ lengths: [Int]) {
            for length in lengths where length > 0 { counts[length] += 1 }
            symbols = lengths.indices.filter { lengths[$0] > 0 }.sorted { (lengths[$0], $0) < (lengths[$1], $1) }
        }
    }
}
