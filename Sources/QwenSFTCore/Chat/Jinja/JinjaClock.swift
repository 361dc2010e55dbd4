import Libc

/// What `strftime_now` reads the time from.
package struct JinjaClock: Sendable {
    /// Seconds since 1970; nil: now.
    private let fixed: Int?

    package static let now = JinjaClock(fixed: nil)

    private init(fixed: Int?) { self.fixed = fixed }

    package init(secondsSince1970: Int) { fixed = secondsSince1970 }

    /// The local time in the form that strftime's `format` asks for.
    func format(_ format: [UInt8]) -> [UInt8] {
        var seconds = fixed ?? time(nil)
        var parts = tm()
        guard localtime_r(&seconds, &parts) != nil else { return [] }
        let pattern = format.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
        let capacity = 256 + 32 * format.count
        return [UInt8](unsafeUninitializedCapacity: capacity) { buffer, count in
            count = buffer.withMemoryRebound(to: CChar.self) { strftime($0.baseAddress, capacity, pattern, &parts) }
        }
    }
}
