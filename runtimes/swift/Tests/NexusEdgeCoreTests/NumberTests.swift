import Foundation
import NexusEdgeCore
import Testing

@Suite struct NumberTests {
    @Test func everyHalfComesBackFromItsFloat() {
        for bits in UInt16.min...UInt16.max where bits & 0x7FFF <= 0x7C00 {
            #expect(Half.bits(Half.float(bits)) == bits)
        }
        #expect(Half.float(0x7E00).isNaN && Half.bits(.nan) & 0x7C00 == 0x7C00 && Half.bits(.nan) & 0x3FF != 0)
    }

    @Test(arguments: [
        (1.0, 0x3C00), (-2.0, 0xC000), (65504, 0x7BFF), (65519.996, 0x7BFF), (65520, 0x7C00), (1e30, 0x7C00),
        (0x1p-24, 0x0001), (0x1p-25, 0x0000), (0x1.8p-25, 0x0001), (-0.0, 0x8000), (0x1p-14, 0x0400),
        (1 + 0x1p-11, 0x3C00), (1 + 0x3p-11, 0x3C02), (0x1.FFAp-15, 0x03FF), (0x1.FFEp-15, 0x0400),
    ] as [(Float, UInt16)])
    func theNearestHalfIsTakenAndTiesGoToTheEvenOne(value: Float, bits: UInt16) {
        #expect(Half.bits(value) == bits)
    }

    // Examples of FIPS 180-2, appendix B, and the empty message.
    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
        ),
    ])
    func digestsAreThoseOfTheStandard(text: String, digest: String) {
        #expect(sha256(Array(text.utf8)) == digest)
    }

    // numpy's documentation of default_rng(12345).
    @Test func drawsAreNumpys() {
        var random = NumpyRandom(seed: 12345)
        #expect((0..<3).map { _ in random.next() } == [0.22733602246716966, 0.31675833970975287, 0.7973654573327341])
    }

    @Test func jsonIsReadExactly() throws {
        let text = #" {"a\u00e9": [1, -2.5e3, true, null, "x\n\ud83d\ude42"], "A\u030a": 1, "\u00c5": 2, "b": {}} "#
        guard case .object(let fields) = try Json.parse(Data(text.utf8), source: "test") else {
            Issue.record("no object")
            return
        }
        let object = JsonObject(fields: fields, source: "test")
        #expect(object.fields.count == 4)  // Å in one code point and in two are different keys
        #expect(try object.integer("\u{C5}") == 2 && object.integer("A\u{30A}") == 1)
        guard case .text(let last) = try object.list("aé")[4] else { throw NexusEdgeError.input("no text") }
        #expect(last == "x\n🙂")
    }

    @Test(arguments: [
        "", "{", "[1,]", "{\"a\":}", "{\"a\" 1}", "[1 2]", "\"\\x\"", "\"\\ud800\"", "01x", "nul", "\"\n\"", "1 2",
        "+1", String(repeating: "[", count: 5000), "\"abc",
    ])
    func damagedJsonIsRefused(text: String) {
        #expect { _ = try Json.parse(Data(text.utf8), source: "file.json") } throws: { error in
            (error as? NexusEdgeError)?.message.hasPrefix("file.json is not valid JSON at byte ") == true
        }
    }
}
