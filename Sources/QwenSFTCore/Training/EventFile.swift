/// Numbers for TensorBoard, in the file that it reads: records of protobuf messages, each with checksums (tensorflow/core/util/event.proto
/// and tensorflow/core/lib/io/record_writer.h).
enum EventFile {
    /// The first record of a file.
    static func version(time: Double) -> [UInt8] {
        record(
            ProtobufMessage {
                $0.double(1, time)
                $0.bytes(3, Array("brain.Event:2".utf8))
            }.bytes)
    }

    /// Values at a step, by name; each draws a point in the chart of its name.
    static func scalars(_ values: [(name: String, value: Double)], step: Int, time: Double) -> [UInt8] {
        let summary = ProtobufMessage { summary in
            for (name, value) in values {
                summary.message(1) {
                    $0.bytes(1, Array(name.utf8))
                    $0.float(2, Float(value))
                }
            }
        }
        return record(
            ProtobufMessage {
                $0.double(1, time)
                $0.varint(2, UInt64(step))
                $0.bytes(5, summary.bytes)
            }.bytes)
    }

    private static func record(_ data: [UInt8]) -> [UInt8] {
        let length = littleEndian(UInt64(data.count))
        return length + littleEndian(maskedChecksum(length)) + data + littleEndian(maskedChecksum(data))
    }

    static func maskedChecksum(_ bytes: [UInt8]) -> UInt32 {
        let sum = crc32c(bytes)
        return (sum >> 15 | sum << 17) &+ 0xA282_EAD8
    }

    /// Castagnoli's CRC, bit by bit: a record is some hundred bytes.
    static func crc32c(_ bytes: [UInt8]) -> UInt32 {
        var sum = UInt32.max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? sum >> 1 ^ 0x82F6_3B78 : sum >> 1 }
        }
        return ~sum
    }
}

private func littleEndian<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
    (0..<MemoryLayout<Value>.size).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
}

/// A protobuf message, field by field.
private struct ProtobufMessage {
    private(set) var bytes: [UInt8] = []

    init(_ fill: (inout ProtobufMessage) -> Void) { fill(&self) }

    mutating func varint(_ field: Int, _ value: UInt64) {
        append(UInt64(field << 3))
        append(value)
    }
    mutating func double(_ field: Int, _ value: Double) {
        append(UInt64(field << 3 | 1))
        bytes += littleEndian(value.bitPattern)
    }
    mutating func bytes(_ field: Int, _ value: [UInt8]) {
        append(UInt64(field << 3 | 2))
        append(UInt64(value.count))
        bytes += value
    }
    mutating func float(_ field: Int, _ value: Float) {
        append(UInt64(field << 3 | 5))
        bytes += littleEndian(value.bitPattern)
    }
    mutating func message(_ field: Int, _ fill: (inout ProtobufMessage) -> Void) {
        bytes(field, ProtobufMessage(fill).bytes)
    }

    private mutating func append(_ value: UInt64) {
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(value))
    }
}
