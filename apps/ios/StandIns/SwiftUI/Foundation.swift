// What Apple's Foundation has and this one lacks.

import Foundation

extension URL {
    public static var documentsDirectory: URL { URL(fileURLWithPath: NSHomeDirectory()) }
    public func startAccessingSecurityScopedResource() -> Bool { false }
    public func stopAccessingSecurityScopedResource() {}
}
