/// The threads of the library's computations, for the whole process.
public enum Threads {
    /// How many a computation uses: the processors that this process may use (a container's quota counts), unless set.
    public static var count: Int { ThreadPool.shared.threads }

    /// Sets how many; holds from the next computation on. Equal numbers give equal bits.
    /// - Throws: `invalidArgument` unless it is from 1 to 256.
    public static func setCount(_ count: Int) throws(QwenSFTError) {
        guard (1...256).contains(count) else {
            throw QwenSFTError(.invalidArgument, "'count' is \(count), expected 1 to 256 threads")
        }
        ThreadPool.shared.threads = count
    }
}
