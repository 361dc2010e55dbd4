import Libc

/// What happens when the host forks. A child has only the thread that forked, so nothing that another one does may be half done, and no
/// lock held, at that moment: the fork waits for the locks, and the child gets them new. `OpenBLAS` has one more.
///
/// They are taken in the order in which others take them: a piece of the pool's work uses values.
enum Forking {
    /// To be touched before there is anything that a fork could find half done.
    static let isHandled =
        pthread_atfork(
            {
                ThreadPool.shared.turn.holdForFork()
                Warnings.state.lock.holdForFork()
                lockOfValues.holdForFork()
            },
            {
                lockOfValues.releaseAfterFork()
                Warnings.state.lock.releaseAfterFork()
                ThreadPool.shared.turn.releaseAfterFork()
            },
            {
                lockOfValues.renew()
                Warnings.state.beginAsChild()
                ThreadPool.shared.beginAsChild()
            }) == 0
}
