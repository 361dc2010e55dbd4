import COpenBLAS
import Synchronization

/// Float32 matrix products, single-threaded: the pool decides who computes what. Matrices are row-major; `ld` is the
/// distance between two rows in elements.
enum OpenBLAS {
    /// Computations under way, and the host's setting, which the last of them puts back: one that ends early must not
    /// give the others' products to OpenBLAS's threads.
    private static let users = Mutex<(count: Int, hostThreads: Int32)>((0, 1))

    /// Runs `body` with OpenBLAS on one thread and leaves the host's setting as it was found.
    ///
    /// The setting belongs to the process: a host that calls the same OpenBLAS at this very moment sees one thread.
    static func singleThreaded<T>(_ body: () throws(QwenSFTError) -> T) throws(QwenSFTError) -> T {
        users.withLock { users in
            if users.count == 0 {
                users.hostThreads = openblas_get_num_threads()
                if users.hostThreads != 1 { openblas_set_num_threads(1) }
            }
            users.count += 1
        }
        defer {
            users.withLock { users in
                users.count -= 1
                if users.count == 0, users.hostThreads != 1 { openblas_set_num_threads(users.hostThreads) }
            }
        }
        return try body()
    }

    /// c (m, n) = alpha · op(a) (m, k) · op(b) (k, n) + beta · c.
    static func gemm(
        _ c: UnsafeMutablePointer<Float>, ldc: Int, _ a: UnsafePointer<Float>, lda: Int, transposeA: Bool = false,
        _ b: UnsafePointer<Float>, ldb: Int, transposeB: Bool = false, m: Int, n: Int, k: Int, alpha: Float = 1,
        beta: Float = 0
    ) {
        guard m > 0, n > 0 else { return }
        cblas_sgemm(
            CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans, Int32(m), Int32(n),
            Int32(k), alpha, a, Int32(max(lda, 1)), b, Int32(max(ldb, 1)), beta, c, Int32(max(ldc, 1)))
    }
}
