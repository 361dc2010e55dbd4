import COpenBLAS
import Libc

/// Float32 matrix products, single-threaded: the pool decides who computes what.
enum OpenBLAS {
    /// Computations under way, and the host's setting, which the last of them puts back: one that ends early must not
    /// give the others' products to OpenBLAS's threads.
    private static let users = Users()

    private final class Users: @unchecked Sendable {
        private let lock = Lock()
        private var count = 0
        private var hostThreads: Int32 = 1

        init() {
            // OpenBLAS ends its threads before a fork, in a handler that it registered when it was loaded; handlers run last to
            // first, so after this one. Whoever set the number of threads between that and the fork would start them again, and
            // the child would wait for threads that it does not have. Nobody takes this lock with the pool's turn, or the other way
            // round: `singleThreaded` is around pieces of work, never within one.
            pthread_atfork(
                { OpenBLAS.users.lock.holdForFork() }, { OpenBLAS.users.lock.releaseAfterFork() },
                { OpenBLAS.users.beginAsChild() })
        }

        func add() {
            lock.lock()
            defer { lock.unlock() }
            if count == 0 {
                hostThreads = openblas_get_num_threads()
                if hostThreads != 1 { openblas_set_num_threads(1) }
            }
            count += 1
        }

        func remove() {
            lock.lock()
            defer { lock.unlock() }
            count = max(0, count - 1)  // in a child that was forked within a computation there is none
            if count == 0, hostThreads != 1 { openblas_set_num_threads(hostThreads) }
        }

        /// The parent's computations are not the child's.
        func beginAsChild() {
            lock.renew()
            if count > 0, hostThreads != 1 { openblas_set_num_threads(hostThreads) }
            count = 0
        }
    }

    /// Runs `body` with OpenBLAS on one thread and leaves the host's setting as it was found, which callbacks within it have too.
    ///
    /// The setting belongs to the process: a host that calls the same OpenBLAS at this very moment sees one thread.
    static func singleThreaded<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        users.add()
        defer { users.remove() }
        let hold = HostThread.Hold(owner: users, suspend: { users.remove() }, resume: { users.add() })
        return try HostThread.current.holding(hold, body)
    }

    /// c = alpha · op(a) · op(b) + beta · c.
    static func gemm(
        _ c: MutableMatrix<Float>, _ a: Matrix<Float>, transposeA: Bool = false, _ b: Matrix<Float>,
        transposeB: Bool = false, alpha: Float = 1, beta: Float = 0
    ) {
        guard c.rows > 0, c.columns > 0 else { return }
        assert((transposeA ? a.columns : a.rows) == c.rows && (transposeB ? b.rows : b.columns) == c.columns)
        assert((transposeA ? a.rows : a.columns) == (transposeB ? b.columns : b.rows))
        cblas_sgemm(
            CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
            Int32(c.rows), Int32(c.columns), Int32(transposeA ? a.rows : a.columns), alpha, a.base,
            Int32(max(a.stride, 1)), b.base, Int32(max(b.stride, 1)), beta, c.base, Int32(max(c.stride, 1)))
    }
}
