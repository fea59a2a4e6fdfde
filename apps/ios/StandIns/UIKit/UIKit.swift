// Stand-in for what the app uses of UIKit.

import Foundation

/// Apple's is Sendable, too.
public final class UIImage: NSObject, @unchecked Sendable {
    public init?(data: Data) {}
    public func jpegData(compressionQuality: CGFloat) -> Data? { nil }
}

@MainActor
public class UIViewController: NSObject {}

@MainActor
public class UINavigationController: UIViewController {}

@MainActor
public protocol UINavigationControllerDelegate: NSObjectProtocol {}

@MainActor
public protocol UIImagePickerControllerDelegate: NSObjectProtocol {
    func imagePickerController(
        _ picker: UIImagePickerController, didFinishPickingMediaWithInfo info: [UIImagePickerController.InfoKey: Any])
    func imagePickerControllerDidCancel(_ picker: UIImagePickerController)
}

@MainActor
public class UIImagePickerController: UINavigationController {
    public enum SourceType: Int, Sendable { case camera = 1 }
    public struct InfoKey: Hashable, Sendable {
        let name: String
        public static let originalImage = InfoKey(name: "UIImagePickerControllerOriginalImage")
    }
    public static func isSourceTypeAvailable(_ type: SourceType) -> Bool { false }
    public var sourceType = SourceType.camera
    public weak var delegate: (any UIImagePickerControllerDelegate & UINavigationControllerDelegate)?
}

@MainActor
public class UIApplication: NSObject {
    nonisolated public static let didReceiveMemoryWarningNotification = Notification.Name(
        "UIApplicationDidReceiveMemoryWarningNotification")
}
