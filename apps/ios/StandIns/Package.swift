// swift-tools-version: 6.0
// Type-checks the app where there is no Xcode: its sources (App is a link to them) against stand-ins for Apple's modules.
import PackageDescription

let package = Package(
    name: "NexusEdgeDemoCheck",
    platforms: [.iOS(.v18)],
    dependencies: [.package(name: "NexusEdge", path: "../../../runtimes/swift")],
    targets: [
        .target(name: "UIKit", path: "UIKit"),
        .target(name: "UniformTypeIdentifiers", path: "UniformTypeIdentifiers"),
        .target(name: "SwiftUI", dependencies: ["UIKit", "UniformTypeIdentifiers"], path: "SwiftUI"),
        .target(name: "PhotosUI", dependencies: ["SwiftUI"], path: "PhotosUI"),
        .target(
            name: "NexusEdgeDemo",
            dependencies: [
                "SwiftUI", "PhotosUI", "UIKit", "UniformTypeIdentifiers",
                .product(name: "NexusEdge", package: "NexusEdge"),
            ],
            path: "App"),
    ]
)
