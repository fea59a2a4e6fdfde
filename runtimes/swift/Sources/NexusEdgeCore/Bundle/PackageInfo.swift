/// Where a package should run, as Core ML names it.
public enum ComputeUnits: String, Sendable {
    case all, cpuOnly, cpuAndGPU, cpuAndNeuralEngine
}

/// One .mlpackage: the graphs of a manifest that are its functions.
public struct PackageInfo: Sendable, Equatable {
    /// Relative to the bundle.
    public let path: String
    /// The last name of `path`.
    public let file: String
    /// vision, embedding, decoder, head, image or text
    public let role: String
    /// Of the model's split that the package is, or is a part of.
    public let graph: String
    /// First layer of a decoder's chunk and the one after its last; nil elsewhere.
    public let layers: Range<Int>?
    /// Oldest system that loads it.
    public let ios, macos: Int
    public let computeUnits: ComputeUnits
    public let note: String
    /// Of its files.
    public let bytes: Int
    /// In the order of their names.
    public let functions: [FunctionInfo]
    /// Hash that the package carries, too.
    let identity: String

    /// In the order in which data goes through them.
    private static let roles = ["vision", "embedding", "decoder", "head", "image", "text"]

    /// - Parameters:
    ///   - graphs: of a manifest's target, by their names
    ///   - sizes: bytes of each file of the bundle
    static func packages(_ graphs: [String: JsonObject], sizes: [String: Int]) throws -> [PackageInfo] {
        var functions: [String: [(graph: JsonObject, name: String)]] = [:]
        for (name, graph) in graphs {
            functions[try graph.part("program").text("package"), default: []].append((graph, name))
        }
        return try functions.map { try PackageInfo($0, $1, sizes) }.sorted { $0.place < $1.place }
    }

    /// - Parameter functions: which say the same of their package
    private init(_ path: String, _ functions: [(graph: JsonObject, name: String)], _ sizes: [String: Int]) throws {
        let program = try functions[0].graph.part("program")
        guard !path.hasPrefix("/"), !path.split(separator: "/").contains("..") else {
            throw program.wrong("package", "a path inside the bundle")
        }
        self.path = path
        file = path.split(separator: "/").last.map(String.init) ?? path
        role = try program.text("role")
        guard Self.roles.contains(role) else { throw program.unknown("role", role) }
        graph = try program.text("part_of")
        layers = try program.isAbsent("layers") ? nil : Self.range(program)
        (ios, macos) = (try program.positive("ios"), try program.positive("macos"))
        guard let units = ComputeUnits(rawValue: try program.text("compute_units")) else {
            throw program.wrong("compute_units", "all, cpuOnly, cpuAndGPU or cpuAndNeuralEngine")
        }
        computeUnits = units
        note = try program.text("note")
        identity = try program.text("identity")
        bytes = sizes.reduce(0) { $1.key.hasPrefix(path + "/") ? $0 + $1.value : $0 }
        self.functions = try functions.map { try FunctionInfo($0.graph, name: $0.name) }.sorted { $0.name < $1.name }
    }

    /// What decides about the order: role, layers, and of those for several systems the newest first.
    private var place: (Int, Int, Int, String) {
        (Self.roles.firstIndex(of: role) ?? 0, layers?.lowerBound ?? 0, -ios, path)
    }

    /// Throws `.bundle` if there is no such function.
    public func function(named name: String) throws -> FunctionInfo {
        guard let function = functions.first(where: { $0.name == name }) else {
            throw NexusEdgeError.bundle("\(file) has no function \(name); export the bundle again")
        }
        return function
    }

    private static func range(_ object: JsonObject) throws -> Range<Int> {
        let edges = try object.integers("layers")
        guard edges.count == 2, edges[0] < edges[1] else { throw object.wrong("layers", "two ascending numbers") }
        return edges[0]..<edges[1]
    }
}

/// A function of a package; of the only one Core ML's name is "main".
public struct FunctionInfo: Sendable, Equatable {
    public let name: String
    /// In the bundle's manifest.
    public let graph: String
    public let inputs, outputs, states: [TensorInfo]

    init(_ graph: JsonObject, name: String) throws {
        let program = try graph.part("program"), images = Set(try program.texts("images"))
        self.name = try program.text("function")
        self.graph = name
        inputs = try graph.objects("inputs").map { try TensorInfo($0, images: images) }
        outputs = try graph.objects("outputs").map { try TensorInfo($0) }
        states = try program.objects("states").map { try TensorInfo($0) }
    }

    /// Throws `.bundle` if there is no such input.
    public func input(_ name: String) throws -> TensorInfo { try Self.find(name, inputs, "input", self.name) }

    /// Throws `.bundle` if there is no such output.
    public func output(_ name: String) throws -> TensorInfo { try Self.find(name, outputs, "output", self.name) }

    private static func find(
        _ name: String, _ all: [TensorInfo], _ kind: String, _ function: String
    ) throws -> TensorInfo {
        guard let tensor = all.first(where: { $0.name == name }) else {
            throw NexusEdgeError.bundle("function \(function) has no \(kind) \(name); export the bundle again")
        }
        return tensor
    }
}

/// An input, an output or a state.
public struct TensorInfo: Sendable, Equatable {
    public let name: String
    /// float16, float32 or int32
    public let dtype: String
    public let shape: [Int]
    /// Whether Core ML takes an image here instead of numbers.
    public let isImage: Bool

    /// Numbers of the tensor.
    public var count: Int { shape.reduce(1, *) }

    init(_ object: JsonObject, images: Set<String> = []) throws {
        name = try object.text("name")
        dtype = try object.text("dtype")
        shape = try object.integers("shape")
        guard shape.allSatisfy({ $0 > 0 }) else { throw object.wrong("shape", "a list of sizes above 0") }
        isImage = images.contains(name)
    }
}
