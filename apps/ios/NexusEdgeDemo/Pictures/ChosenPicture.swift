import Foundation
import NexusEdge
import UIKit

/// An image as the models take it, and as the screen shows it.
struct ChosenPicture: Equatable, Sendable {
    let id = UUID()
    let name: String
    let pixels: RgbImage
    let shown: UIImage

    /// Unpacks a file away from the main thread.
    ///
    /// - Throws: `NexusEdgeError.image`
    static func load(_ file: Data, name: String) async throws -> ChosenPicture {
        try await Task.detached {
            let pixels = try RgbImage(file: file, name: name)
            guard let shown = UIImage(data: file) else { throw NexusEdgeError.image("\(name): cannot be shown") }
            return ChosenPicture(name: name, pixels: pixels, shown: shown)
        }.value
    }

    static func == (left: ChosenPicture, right: ChosenPicture) -> Bool { left.id == right.id }
}

/// Images that came with the app; the build phase "Copy models" brings them.
enum SamplePictures {
    static func all() -> [URL] {
        let folder = Bundle.main.resourceURL?.appendingPathComponent("Samples", isDirectory: true)
        let found = folder.flatMap {
            try? FileManager.default.contentsOfDirectory(at: $0, includingPropertiesForKeys: nil)
        }
        return (found ?? []).sorted { $0.lastPathComponent < $1.lastPathComponent }
    }
}
