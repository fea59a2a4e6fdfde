import Foundation
import UIKit

public struct Text: Primitive {
    public init(_ key: LocalizedStringKey) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ content: S) {}
}

public struct Label<Title: View, Icon: View>: Primitive {}

extension Label where Title == Text, Icon == Image {
    public init(_ titleKey: LocalizedStringKey, systemImage name: String) {}
}

public struct Image: Primitive {
    public init(uiImage: UIImage) {}
    public func resizable() -> Image { self }
}

public struct Spacer: Primitive { public init() {} }

public struct ButtonRole: Sendable {
    public static let destructive = ButtonRole()
}

public struct Button<Content: View>: Primitive {}

extension Button where Content == Text {
    public init(_ titleKey: LocalizedStringKey, action: @escaping @MainActor () -> Void) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S, action: @escaping @MainActor () -> Void) {}
    public init(_ titleKey: LocalizedStringKey, role: ButtonRole?, action: @escaping @MainActor () -> Void) {}
}

extension Button where Content == Label<Text, Image> {
    public init(_ titleKey: LocalizedStringKey, systemImage: String, action: @escaping @MainActor () -> Void) {}
    public init(
        _ titleKey: LocalizedStringKey, systemImage: String, role: ButtonRole?, action: @escaping @MainActor () -> Void
    ) {}
}

public struct TextField: Primitive {
    public init(_ titleKey: LocalizedStringKey, text: Binding<String>, axis: Axis) {}
}

public enum Axis: Sendable { case horizontal, vertical }

public struct Toggle: Primitive {
    public init(_ titleKey: LocalizedStringKey, isOn: Binding<Bool>) {}
}

public struct Stepper: Primitive {
    public init<V: Strideable>(
        _ titleKey: LocalizedStringKey, value: Binding<V>, in bounds: ClosedRange<V>, step: V.Stride = 1
    ) {}
}

public struct Picker<SelectionValue: Hashable>: Primitive {
    public init<Content: View>(
        _ titleKey: LocalizedStringKey, selection: Binding<SelectionValue>, @ViewBuilder content: () -> Content
    ) {}
}

public struct ProgressView: Primitive {
    public init(_ titleKey: LocalizedStringKey) {}
    @_disfavoredOverload public init<S: StringProtocol>(_ title: S) {}
    public init<V: BinaryFloatingPoint>(value: V?, total: V = 1) {}
}

public struct Menu: Primitive {
    public init<Content: View, L: View>(@ViewBuilder content: () -> Content, @ViewBuilder label: () -> L) {}
}

public enum HorizontalAlignment: Sendable { case leading, center, trailing }

public struct VStack: Primitive {
    public init<Content: View>(
        alignment: HorizontalAlignment = .center, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content
    ) {}
}

public struct HStack: Primitive {
    public init<Content: View>(spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
}

public struct ForEach<Data: RandomAccessCollection>: Primitive {
    public init<Content: View>(_ data: Data, @ViewBuilder content: @escaping (Data.Element) -> Content)
    where Data.Element: Identifiable {}
    public init<ID: Hashable, Content: View>(
        _ data: Data, id: KeyPath<Data.Element, ID>, @ViewBuilder content: @escaping (Data.Element) -> Content
    ) {}
}

public struct Section: Primitive {
    public init<Content: View>(@ViewBuilder content: () -> Content) {}
    public init<Content: View>(_ titleKey: LocalizedStringKey, @ViewBuilder content: () -> Content) {}
    public init<Content: View, Footer: View>(
        @ViewBuilder content: () -> Content, @ViewBuilder footer: () -> Footer
    ) {}
}

public struct List: Primitive { public init<Content: View>(@ViewBuilder content: () -> Content) {} }
public struct Form: Primitive { public init<Content: View>(@ViewBuilder content: () -> Content) {} }
public struct TabView: Primitive { public init<Content: View>(@ViewBuilder content: () -> Content) {} }
public struct NavigationStack: Primitive { public init<Content: View>(@ViewBuilder root: () -> Content) {} }

public struct PeriodicTimelineSchedule: Sendable {
    public static func periodic(from start: Date, by interval: TimeInterval) -> PeriodicTimelineSchedule { .init() }
}

public struct TimelineView: Primitive {
    public struct Context: Sendable {}
    public init<Content: View>(
        _ schedule: PeriodicTimelineSchedule, @ViewBuilder content: @escaping (Context) -> Content
    ) {}
}
