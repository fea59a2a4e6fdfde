/// A text as a key of a dictionary, equal only to the same code points.
///
/// `String` takes canonically equivalent texts for the same, and a vocabulary may hold both: Å as one code point and as
/// the Ångström sign, for example.
package struct ExactText: Hashable, Sendable {
    let bytes: [UInt8]

    init(bytes: [UInt8]) { self.bytes = bytes }
    package init(_ text: String) { bytes = Array(text.utf8) }
    init(_ scalars: some Sequence<Unicode.Scalar>) { bytes = scalars.flatMap { Array(UTF8.encode($0)!) } }

    var text: String { String(decoding: bytes, as: UTF8.self) }
}
