/// Where a package should run, as Core ML names it.
public enum ComputeUnits: String, Sendable {
    case all, cpuOnly, cpuAndGPU, cpuAndNeuralEngine
}

/// One .mlpackage.
public struct PackageInfo: Sendable, Equatable {
    /// Relative to the folder of metadata.json.
    public let file: String
    public let name: String
    /// vision, embedding, decoder, head, image or text
    public let role: String
    /// Of the model's split that the package is, or is a part of.
    public let graph: String
    /// First layer of a decoder's chunk and the one behind its last; nil elsewhere.
    public let layers: Range<Int>?
    /// Oldest system that loads it.
    public let ios, macos: Int
    public let computeUnits: ComputeUnits
    public let note: String
    /// Of its files.
    public let bytes: Int
    /// The first is the default.
    public let functions: [FunctionInfo]

    init(_ object: JsonObject) throws {
        file = try object.text("file")
        guard !file.hasPrefix("/"), !file.split(separator: "/").contains("..") else {
            throw object.wrong("file", "a path inside the folder")
        }
        name = try object.text("name")
        role = try object.text("role")
        graph = try object.text("graph")
        layers = try object.isAbsent("layers") ? nil : Self.range(object)
        (ios, macos) = (try object.positive("ios"), try object.positive("macos"))
        guard let units = ComputeUnits(rawValue: try object.text("compute_units")) else {
            throw object.wrong("compute_units", "all, cpuOnly, cpuAndGPU or cpuAndNeuralEngine")
        }
        computeUnits = units
        note = try object.text("note")
        bytes = try object.positive("bytes")
        functions = try object.objects("functions").map(FunctionInfo.init)
        guard !functions.isEmpty else { throw object.wrong("functions", "a list with at least one") }
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

    init(_ object: JsonObject) throws {
        name = try object.text("name")
        graph = try object.text("graph")
        inputs = try object.objects("inputs").map(TensorInfo.init)
        outputs = try object.objects("outputs").map(TensorInfo.init)
        states = try object.objects("states").map(TensorInfo.init)
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
    /// Whether Core ML takes a picture here instead of numbers.
    public let isImage: Bool

    /// Numbers of the tensor.
    public var count: Int { shape.reduce(1, *) }

    init(_ object: JsonObject) throws {
        name = try object.text("name")
        dtype = try object.text("dtype")
        shape = try object.integers("shape")
        guard shape.allSatisfy({ $0 > 0 }) else { throw object.wrong("shape", "a list of sizes above 0") }
        isImage = try object.optionalText("kind") == "image"
    }
}
