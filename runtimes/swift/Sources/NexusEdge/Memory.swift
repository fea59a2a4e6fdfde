#if canImport(Darwin)
@preconcurrency import Darwin
import os

/// What the system counts against the app.
public enum ProcessMemory {
    /// Bytes in use, as Xcode's gauge shows them; nil if the system does not say.
    public static var used: Int? {
        var info = task_vm_info_data_t()
        var count = mach_msg_type_number_t(MemoryLayout<task_vm_info_data_t>.size / MemoryLayout<integer_t>.size)
        let status = withUnsafeMutablePointer(to: &info) { pointer in
            pointer.withMemoryRebound(to: integer_t.self, capacity: Int(count)) { numbers in
                task_info(mach_task_self_, task_flavor_t(TASK_VM_INFO), numbers, &count)
            }
        }
        return status == KERN_SUCCESS ? Int(info.phys_footprint) : nil
    }

    /// Bytes until the system ends the app; nil where there is no such limit (Macs).
    public static var left: Int? {
        #if os(iOS)
        return Int(os_proc_available_memory())
        #else
        return nil
        #endif
    }
}
#else
/// What the system counts against the app; known on Apple's systems only.
public enum ProcessMemory {
    public static var used: Int? { nil }
    public static var left: Int? { nil }
}
#endif
