// swift-tools-version: 6.0
import PackageDescription

// Where there are no Apple frameworks, stand-ins for the few declarations that NexusEdge needs take their place, so that
// it is compiled and its sessions are tested there, too.
#if canImport(Darwin)
let standIns: [Target] = []
#else
let standIns: [Target] = [
    .target(name: "CoreVideo", path: "Tests/StandIns/CoreVideo"),
    .target(name: "CoreML", dependencies: ["CoreVideo"], path: "Tests/StandIns/CoreML"),
    .target(name: "CoreGraphics", path: "Tests/StandIns/CoreGraphics"),
    .target(name: "ImageIO", dependencies: ["CoreGraphics"], path: "Tests/StandIns/ImageIO"),
]
#endif
let frameworks = standIns.map { Target.Dependency.target(name: $0.name) }

let package = Package(
    name: "NexusEdge",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [
        .library(name: "NexusEdge", targets: ["NexusEdge"]),
        .library(name: "NexusEdgeCore", targets: ["NexusEdgeCore"]),
    ],
    targets: [
        // Foundation only, so it builds and is tested on Linux too.
        .target(name: "NexusEdgeCore"),
        // Core ML.
        .target(name: "NexusEdge", dependencies: ["NexusEdgeCore"] + frameworks),
        // Reads requests and writes tensors and ids, so that the Python tests can compare them with their own.
        .executableTarget(name: "nexus-edge-vectors", dependencies: ["NexusEdgeCore"]),
        .testTarget(name: "NexusEdgeCoreTests", dependencies: ["NexusEdgeCore"]),
        .testTarget(
            name: "NexusEdgeTests", dependencies: ["NexusEdge", "NexusEdgeCore"] + frameworks,
            resources: [.copy("Fixtures")]),
    ] + standIns
)
