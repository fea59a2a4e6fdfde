#if canImport(CoreML)
import Dispatch

/// A thread for one session. Predictions are blocking calls of seconds, which must not occupy the threads that all
/// other tasks share; and an actor that never waits in the middle of an answer never lets a second one into its caches.
final class QueueExecutor: SerialExecutor {
    private let queue: DispatchQueue

    init(_ label: String) { queue = DispatchQueue(label: label, qos: .userInitiated) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedSerialExecutor()) }
    }

    func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
}
#endif
