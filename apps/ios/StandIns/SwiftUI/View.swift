// Stand-in for what the app uses of SwiftUI, so that its sources can be type-checked where there is none. Signatures
// follow Apple's documentation; nothing is drawn.

@_exported import Foundation
@_exported import Observation
import UIKit

@MainActor @preconcurrency
public protocol View {
    associatedtype Body: View
    @ViewBuilder var body: Body { get }
}

extension Never: View {
    public var body: Never { fatalError("never drawn") }
}

/// A view without a body of its own.
public protocol Primitive: View where Body == Never {}

extension Primitive {
    public var body: Never { fatalError("never drawn") }
}

public struct EmptyView: Primitive { nonisolated public init() {} }
public struct AnyGroup: Primitive { nonisolated init() {} }
extension Optional: View where Wrapped: View {
    public var body: Never { fatalError("never drawn") }
}

@resultBuilder
public enum ViewBuilder {
    public static func buildBlock() -> EmptyView { EmptyView() }
    public static func buildBlock<Content: View>(_ content: Content) -> Content { content }
    public static func buildBlock<each Content: View>(_ content: repeat each Content) -> AnyGroup { AnyGroup() }
    public static func buildIf<Content: View>(_ content: Content?) -> Content? { content }
    public static func buildEither<Content: View>(first: Content) -> AnyGroup { AnyGroup() }
    public static func buildEither<Content: View>(second: Content) -> AnyGroup { AnyGroup() }
    public static func buildExpression<Content: View>(_ content: Content) -> Content { content }
}

@MainActor @preconcurrency
public protocol Scene {}

@resultBuilder
public enum SceneBuilder {
    public static func buildBlock<Content: Scene>(_ content: Content) -> Content { content }
}

@MainActor @preconcurrency
public protocol App {
    associatedtype Body: Scene
    @SceneBuilder var body: Body { get }
    init()
}

extension App {
    public static func main() { fatalError("the stand-in draws nothing") }
}

public struct WindowGroup<Content: View>: Scene {
    public init(@ViewBuilder content: () -> Content) {}
}

public struct LocalizedStringKey: ExpressibleByStringInterpolation, Sendable {
    public init(stringLiteral value: String) {}
    public struct StringInterpolation: StringInterpolationProtocol, Sendable {
        public init(literalCapacity: Int, interpolationCount: Int) {}
        public mutating func appendLiteral(_ literal: String) {}
        public mutating func appendInterpolation(_ string: String) {}
        public mutating func appendInterpolation<T: BinaryInteger>(_ value: T) {}
    }
    public init(stringInterpolation: StringInterpolation) {}
}

@propertyWrapper @dynamicMemberLookup
public struct Binding<Value> {
    public var wrappedValue: Value {
        get { fatalError("never read") }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { self }
    public subscript<Part>(dynamicMember path: WritableKeyPath<Value, Part>) -> Binding<Part> { Binding<Part>(standIn: ()) }
    init(standIn: Void) {}
}

@propertyWrapper
public struct State<Value> {
    private let value: Value
    public init(wrappedValue value: Value) { self.value = value }
    public var wrappedValue: Value {
        get { value }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { Binding(standIn: ()) }
}

extension State where Value: ExpressibleByNilLiteral {
    public init() { self.init(wrappedValue: nil) }
}

@propertyWrapper
public struct Environment<Value> {
    public init(_ type: Value.Type) where Value: AnyObject & Observable {}
    public var wrappedValue: Value { fatalError("never read") }
}

@propertyWrapper
public struct AppStorage<Value> {
    init(standIn: Void) {}
    public var wrappedValue: Value {
        get { fatalError("never read") }
        nonmutating set {}
    }
    public var projectedValue: Binding<Value> { Binding(standIn: ()) }
}

extension AppStorage where Value == String { public init(wrappedValue: String, _ key: String) { self.init(standIn: ()) } }
extension AppStorage where Value == Int { public init(wrappedValue: Int, _ key: String) { self.init(standIn: ()) } }
extension AppStorage where Value == Bool { public init(wrappedValue: Bool, _ key: String) { self.init(standIn: ()) } }

@MainActor @preconcurrency
public protocol UIViewControllerRepresentable: View where Body == Never {
    associatedtype UIViewControllerType: UIViewController
    associatedtype Coordinator = Void
    typealias Context = UIViewControllerRepresentableContext<Self>
    func makeUIViewController(context: Context) -> UIViewControllerType
    func updateUIViewController(_ uiViewController: UIViewControllerType, context: Context)
    func makeCoordinator() -> Coordinator
}

extension UIViewControllerRepresentable {
    public var body: Never { fatalError("never drawn") }
}

@MainActor
public struct UIViewControllerRepresentableContext<Representable: UIViewControllerRepresentable> {
    public let coordinator: Representable.Coordinator
}

/// Combine's, as far as `onReceive` needs it.
public protocol Publisher<Output> { associatedtype Output }
public struct NotificationPublisher: Publisher { public typealias Output = Notification }
extension NotificationCenter {
    public func publisher(for name: Notification.Name, object: AnyObject? = nil) -> NotificationPublisher {
        NotificationPublisher()
    }
}
