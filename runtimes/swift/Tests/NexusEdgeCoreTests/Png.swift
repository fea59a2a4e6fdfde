import Foundation
import NexusEdgeCore

/// Reads a PNG of 8 bits without interlacing, without any system library, whose colours a Mac would manage.
func readPng(_ url: URL) throws -> RgbImage {
    let bytes = Array(try Data(contentsOf: url))
    func number(_ place: Int) -> Int { (0..<4).reduce(0) { $0 << 8 | Int(bytes[place + $1]) } }
    var place = 8, packed: [UInt8] = [], palette: [UInt8] = []
    var width = 0, height = 0, kind = 0
    while place + 12 <= bytes.count {
        let size = number(place), body = place + 8
        switch String(decoding: bytes[place + 4..<body], as: UTF8.self) {
        case "IHDR":
            (width, height, kind) = (number(body), number(body + 4), Int(bytes[body + 9]))
            guard bytes[body + 8] == 8, bytes[body + 12] == 0 else { throw Inflate.Damaged() }
        case "PLTE": palette = Array(bytes[body..<body + size])
        case "IDAT": packed += bytes[body..<body + size]
        default: break
        }
        place = body + size + 4
    }
    guard let channels = [0: 1, 2: 3, 3: 1, 4: 2, 6: 4][kind] else { throw Inflate.Damaged() }
    let lines = unfiltered(try Inflate.inflate(packed[2...]), height: height, line: width * channels, step: channels)
    var pixels: [UInt8] = []
    pixels.reserveCapacity(3 * width * height)
    for start in stride(from: 0, to: lines.count, by: channels) {
        switch kind {
        case 3: pixels += palette[3 * Int(lines[start])..<3 * Int(lines[start]) + 3]
        case 0, 4: pixels += [lines[start], lines[start], lines[start]]
        default: pixels += lines[start..<start + 3]
        }
    }
    return try RgbImage(width: width, height: height, pixels: pixels)
}

/// Lines as they were before each was written as the difference from its neighbours.
private func unfiltered(_ input: [UInt8], height: Int, line: Int, step: Int) -> [UInt8] {
    var output = [UInt8](repeating: 0, count: height * line)
    for y in 0..<height {
        let filter = input[y * (line + 1)]
        for x in 0..<line {
            let to = y * line + x
            let left = x >= step ? Int(output[to - step]) : 0, above = y > 0 ? Int(output[to - line]) : 0
            let corner = x >= step && y > 0 ? Int(output[to - line - step]) : 0
            let guess: Int
            switch filter {
            case 1: guess = left
            case 2: guess = above
            case 3: guess = (left + above) / 2
            case 4:
                let sum = left + above - corner
                let (a, b, c) = (abs(sum - left), abs(sum - above), abs(sum - corner))
                guess = a <= b && a <= c ? left : b <= c ? above : corner
            default: guess = 0
            }
            output[to] = input[y * (line + 1) + 1 + x] &+ UInt8(guess)
        }
    }
    return output
}
