// Stand-in for what the app uses of Uniform Type Identifiers.

public struct UTType: Sendable {
    public static var folder: UTType { UTType() }
}
