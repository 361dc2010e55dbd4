import Foundation

/// Runs `body` with 0 ..< count, each on a thread of its own, and waits for all. `DispatchQueue.concurrentPerform` may run them one
/// after the other, and one that waits for another would wait for ever.
func onThreads(_ count: Int, _ body: @escaping (Int) -> Void) {
    nonisolated(unsafe) let body = body
    let group = DispatchGroup()
    for index in 0..<count {
        group.enter()
        Thread {
            body(index)
            group.leave()
        }.start()
    }
    group.wait()
}
