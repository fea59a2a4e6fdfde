import Foundation
import NexusEdge

/// What the tab Settings changes; kept in the app's defaults under these names.
struct AppSettings: Equatable, Sendable {
    enum Name {
        static let units = "computeUnits"
        static let maxNewTokens = "maxNewTokens"
        static let keepsVision = "keepsVisionEncoder"
    }

    /// What "as the model advises" is called among the names of compute units.
    static let advised = "advised"
    static let defaultNewTokens = 256

    var units: String
    var maxNewTokens: Int
    var keepsVision: Bool

    /// As they are now.
    static var current: AppSettings {
        let defaults = UserDefaults.standard
        return AppSettings(
            units: defaults.string(forKey: Name.units) ?? advised,
            maxNewTokens: defaults.object(forKey: Name.maxNewTokens) as? Int ?? defaultNewTokens,
            keepsVision: defaults.bool(forKey: Name.keepsVision))
    }

    /// Of a session; the limit of new tokens is no part of it.
    var session: SessionOptions {
        var options = SessionOptions()
        options.computeUnits = ComputeUnits(rawValue: units)
        options.keepsVisionEncoder = keepsVision
        return options
    }
}
