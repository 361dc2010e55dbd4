/// Codes of 8 bits for numbers from −1 (or 0) to 1, whose steps grow with the numbers over seven decades: dynamic tree
/// quantization (Dettmers, Lewis, Shleifer & Zettlemoyer, 2022, "8-bit Optimizers via Block-wise Quantization").
package struct DynamicCode: Sendable {
    /// By code, ascending.
    package let values: [Float]
    /// Numbers above this one are nearer to the next code's.
    private let ends: [Float]
    /// By the upper 16 bits of a number: the code of the least that has them.
    private let first: [UInt8]

    package static let signed = DynamicCode(isSigned: true)
    package static let unsigned = DynamicCode(isSigned: false)

    private init(isSigned: Bool) {
        var values: [Double] = [0, 1]
        for decade in 0..<7 {
            // Of each decade the middles of so many equal parts.
            let parts = 1 << (isSigned ? decade : decade + 1)
            var scale = 1.0
            for _ in decade..<6 { scale /= 10 }
            for part in 0..<parts {
                let middle = scale * (0.1 + 0.9 * (Double(part) + 0.5) / Double(parts))
                values.append(middle)
                if isSigned { values.append(-middle) }
            }
        }
        values.sort()
        var ends = zip(values, values.dropFirst()).map { Float(($0 + $1) / 2) } + [.infinity]
        // A second moment that is rounded to 0 would make a step of any size.
        if !isSigned { ends[0] = 0 }
        self.values = values.map { Float($0) }
        self.ends = ends
        var first = [UInt8](repeating: 0, count: 1 << 16)
        func fill(_ uppers: some Sequence<Int>, lower: UInt32) {
            var code = 0
            for upper in uppers {
                let least = Float(bitPattern: UInt32(upper) << 16 | lower)
                while least > ends[code] { code += 1 }
                first[upper] = UInt8(code)
            }
        }
        // In ascending order; infinities and NaN, which nothing asks for, are left out.
        fill((0x8000..<0xFF80).reversed(), lower: 0xFFFF)
        fill(0..<0x7F80, lower: 0)
        self.first = first
    }

    /// Of a number from −1 (or 0) to 1.
    @inline(__always)
    static func code(of x: Float, _ first: UnsafePointer<UInt8>, _ ends: UnsafePointer<Float>) -> UInt8 {
        var code = first[Int(x.bitPattern >> 16)]
        while x > ends[Int(code)] { code &+= 1 }
        return code
    }

    fileprivate func withTables(
        _ body: (_ values: UnsafePointer<Float>, _ ends: UnsafePointer<Float>, _ first: UnsafePointer<UInt8>) -> Void
    ) {
        values.withUnsafeBufferPointer { values in
            ends.withUnsafeBufferPointer { ends in
                first.withUnsafeBufferPointer { first in
                    guard let values = values.baseAddress, let ends = ends.baseAddress, let first = first.baseAddress
                    else { return }
                    body(values, ends, first)
                }
            }
        }
    }
}

/// Numbers of an optimizer in 8 bits: a code each, and the largest magnitude of every 256 neighbors. Zeros at first.
package final class BlockwiseMoments {
    package static let block = 256
    private let codes: HugeBuffer
    private let scales: HugeBuffer
    private let starts: [(codes: Int, scales: Int)]
    private let counts: [Int]

    /// - Parameter counts: numbers of every tensor.
    package init(_ counts: [Int], purpose: String) throws(QwenSFTError) {
        var (codeCount, scaleCount) = (0, 0)
        starts = counts.map { count in
            defer {
                codeCount += roundUp(count, Self.block)
                scaleCount += Self.scaleCount(count)
            }
            return (codeCount, scaleCount)
        }
        self.counts = counts
        codes = try HugeBuffer(byteCount: codeCount, purpose: purpose)
        scales = try HugeBuffer(byteCount: scaleCount * 4, purpose: purpose)
    }

    package static func scaleCount(_ count: Int) -> Int { (count + block - 1) / block }
    package static func byteCount(_ count: Int) -> Int { count + 4 * scaleCount(count) }

    /// A tensor's codes.
    package func codes(_ tensor: Int) -> UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: codes.base + starts[tensor].codes, count: counts[tensor])
    }

    /// Its blocks' largest magnitudes.
    package func scales(_ tensor: Int) -> UnsafeMutableBufferPointer<Float> {
        UnsafeMutableBufferPointer(
            start: scales.floats + starts[tensor].scales, count: Self.scaleCount(counts[tensor]))
    }

    /// Some numbers of a tensor; `start` begins a block.
    package func read(
        _ tensor: Int, _ start: Int, _ count: Int, as code: DynamicCode, to out: UnsafeMutablePointer<Float>
    ) {
        guard count > 0, let codes = codes(tensor).baseAddress, let scales = scales(tensor).baseAddress else { return }
        let bytes = codes.assumingMemoryBound(to: UInt8.self) + start
        code.withTables { values, _, _ in
            for index in 0..<count { out[index] = values[Int(bytes[index])] * scales[(start + index) / Self.block] }
        }
    }

    /// Replaces them by what is nearest to `numbers`.
    package func write(
        _ tensor: Int, _ start: Int, _ count: Int, as code: DynamicCode, from numbers: UnsafePointer<Float>
    ) {
        guard count > 0, let codes = codes(tensor).baseAddress, let scales = scales(tensor).baseAddress else { return }
        let bytes = codes.assumingMemoryBound(to: UInt8.self) + start
        code.withTables { _, ends, first in
            for begin in stride(from: 0, to: count, by: Self.block) {
                let end = min(begin + Self.block, count)
                var scale: Float = 0
                for index in begin..<end { scale = max(scale, numbers[index].magnitude) }
                scales[(start + begin) / Self.block] = scale
                let divisor = scale == 0 ? 1 : scale
                for index in begin..<end { bytes[index] = DynamicCode.code(of: numbers[index] / divisor, first, ends) }
            }
        }
    }

    package func copy(_ tensor: Int, from other: BlockwiseMoments) {
        codes(tensor).copyMemory(from: UnsafeRawBufferPointer(other.codes(tensor)))
        _ = scales(tensor).update(fromContentsOf: other.scales(tensor))
    }
}
