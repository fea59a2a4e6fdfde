// Stand-in for Core ML on systems that have none. Declarations follow Apple's headers of the iOS 18 SDK; bodies are ours.

import Foundation

public enum MLMultiArrayDataType: Int, Sendable {
    case double = 0x10040
    case float32 = 0x10020
    case float16 = 0x10010
    case int32 = 0x20020

    /// Of one number.
    public var standInBytes: Int { (rawValue & 0xFF) / 8 }
}

public class MLMultiArray: NSObject {
    public let dataType: MLMultiArrayDataType
    public let shape: [NSNumber]
    public let strides: [NSNumber]
    private let memory: UnsafeMutableRawBufferPointer
    private let deallocator: ((UnsafeMutableRawPointer) -> Void)?

    /// Not initialized by Apple's; filled with 0xAA here, so that a test notices what was never written.
    public convenience init(shape: [NSNumber], dataType: MLMultiArrayDataType) throws {
        self.init(standInShape: shape.map(\.intValue), dataType: dataType, rowPadding: 0)
    }

    /// - Parameter rowPadding: numbers between two rows, as the Neural Engine leaves them in its outputs
    public init(standInShape sizes: [Int], dataType: MLMultiArrayDataType, rowPadding: Int) {
        var steps = [Int](repeating: 1, count: sizes.count)
        for axis in sizes.indices.dropLast().reversed() {
            steps[axis] = steps[axis + 1] * sizes[axis + 1] + (axis == sizes.count - 2 ? rowPadding : 0)
        }
        let count = sizes.isEmpty ? 1 : steps[0] * sizes[0]
        memory = .allocate(byteCount: max(1, count) * dataType.standInBytes, alignment: 64)
        memory.initializeMemory(as: UInt8.self, repeating: 0xAA)
        deallocator = { $0.deallocate() }
        self.dataType = dataType
        shape = sizes.map { NSNumber(value: $0) }
        strides = steps.map { NSNumber(value: $0) }
    }

    public init(
        dataPointer: UnsafeMutableRawPointer, shape: [NSNumber], dataType: MLMultiArrayDataType, strides: [NSNumber],
        deallocator: ((UnsafeMutableRawPointer) -> Void)? = nil
    ) throws {
        let last = zip(shape, strides).reduce(0) { $0 + ($1.0.intValue - 1) * $1.1.intValue }
        memory = .init(start: dataPointer, count: (last + 1) * dataType.standInBytes)
        (self.shape, self.dataType, self.strides, self.deallocator) = (shape, dataType, strides, deallocator)
    }

    deinit {
        if let start = memory.baseAddress { deallocator?(start) }
    }

    public var count: Int { shape.reduce(1) { $0 * $1.intValue } }

    public func withUnsafeBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
        try body(UnsafeRawBufferPointer(memory))
    }

    public func withUnsafeMutableBytes<R>(_ body: (UnsafeMutableRawBufferPointer, [Int]) throws -> R) rethrows -> R {
        try body(memory, strides.map(\.intValue))
    }
}
