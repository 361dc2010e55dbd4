// Prefill and decoding of one checkpoint: one JSON object per run, read by Benchmarks/chat.py.
//
//     bench-chat DIR [--dtype float32|bfloat16|lossless|int8|int6|int4] [--prompt N] [--new N] [--runs N]
//     bench-chat DIR [--dtype …] --loss DATA.jsonl [--rows N]      the mean loss on conversations, nothing else
//     bench-chat DIR [--dtype …] --open                            opening, and touching as much new memory
//     bench-chat DIR [--dtype …] --turn [--prompt N]               a short second turn after a first one of some N tokens
//
// ISA=avx2 in the environment limits the kernels.
// `open`: seconds. `prefill`: seconds to the first token of a prompt of N tokens. `decode`: median seconds of one of the
// following tokens. `bandwidth`: bytes a second at which all processors together read memory, `limit`: operations a second
// of the bfloat16 multiplier on operands that are at hand; both are measured here.
import CKernels
import Foundation
import QwenSFTCore

struct Options {
    var directory = ""
    var dtype = "bfloat16"
    var prompt = 256
    var new = 64
    var runs = 3
    var loss: String?
    var rows = 50
    var opens = false
    var turn = false

    init(_ arguments: [String]) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "--dtype": dtype = rest.popFirst() ?? dtype
            case "--prompt": prompt = rest.popFirst().flatMap { Int($0) } ?? prompt
            case "--new": new = rest.popFirst().flatMap { Int($0) } ?? new
            case "--loss": loss = rest.popFirst()
            case "--open": opens = true
            case "--turn": turn = true
            case "--rows": rows = rest.popFirst().flatMap { Int($0) } ?? rows
            case "--runs": runs = rest.popFirst().flatMap { Int($0) } ?? runs
            default: directory = argument
            }
        }
    }
}

let options = Options(Array(CommandLine.arguments.dropFirst()))
if let set = ProcessInfo.processInfo.environment["ISA"] {
    do { try InstructionSet.limit(toSetNamed: set) } catch {
        print("bench-chat: \(error)")
        exit(1)
    }
}
let clock = ContinuousClock()

func seconds(_ body: () throws -> Void) rethrows -> Double { try clock.measure(body) / .seconds(1) }

func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }

/// Reads a large buffer on all workers.
func bandwidth() throws -> Double {
    let bytes = 512 << 20
    let memory = try HugeBuffer(byteCount: bytes, purpose: "bandwidth")
    memory.floats.update(repeating: 1, count: bytes / 4)
    let times = (0..<4).map { _ in
        seconds {
            ThreadPool.shared.run { worker in
                let own = worker.range(of: bytes, unit: 4096)
                var sums = (SIMD16<UInt32>(), SIMD16<UInt32>())
                for offset in stride(from: own.lowerBound, to: own.upperBound & ~127, by: 128) {
                    sums.0 &+= memory.base.loadUnaligned(fromByteOffset: offset, as: SIMD16<UInt32>.self)
                    sums.1 &+= memory.base.loadUnaligned(fromByteOffset: offset + 64, as: SIMD16<UInt32>.self)
                }
                if (sums.0 &+ sums.1)[0] == 42 { print("") }  // or the loop would be dropped
            }
        }
    }
    return Double(bytes) / (times.min() ?? 1)
}

/// Operations a second of the multiplying kernel on operands in the first-level cache.
func multiplierLimit() throws -> Double {
    let (rows, pairs, repeats) = (6, 64, 20_000)
    let workers = ThreadPool.shared.threads
    let operands = try HugeBuffer(byteCount: workers * 64 << 10, purpose: "operands")
    let times = (0..<3).map { _ in
        seconds {
            ThreadPool.shared.run { worker in
                let a = (operands.base + worker.index * 64 << 10).assumingMemoryBound(to: UInt16.self)
                let sums = operands.floats + (worker.index * 64 << 10 + 32 << 10) / 4
                for _ in 0..<repeats {
                    qk_gemm_panel(sums, 64, a, 2 * pairs, rows, a + 4096, 64, pairs, 0, nil, 0)
                }
            }
        }
    }
    return Double(2 * rows * 64 * 2 * pairs * repeats * workers) / (times.min() ?? 1)
}

let dtype = DType(rawValue: options.dtype) ?? .bfloat16
var model: Model!
let opening = try seconds {
    model = try Model(
        directory: options.directory, dtype: dtype, quantization: Quantization(rawValue: options.dtype))
}
if let data = options.loss {
    let tokenizer = try Tokenizer(directory: options.directory)
    let trainer = try Trainer(model)
    var (sum, tokens) = (0.0, 0)
    for conversation in try Dataset(path: data).prefix(options.rows).conversations() {
        let metrics = try trainer.evaluate(try Batch([conversation.messages], tokenizer: tokenizer))
        sum += metrics.loss * Double(metrics.supervisedTokens)
        tokens += metrics.supervisedTokens
    }
    print("{\"loss\": \(sum / Double(tokens)), \"tokens\": \(tokens)}")
    exit(0)
}
if options.opens {
    // The least that it can take: the same bytes of memory that was never used, filled on all workers.
    let bytes = model.weightBytes
    let touch = try seconds {
        let memory = try HugeBuffer(byteCount: bytes, purpose: "touching")
        ThreadPool.shared.run { worker in
            let own = worker.range(of: bytes, unit: 2 << 20)
            (memory.base + own.lowerBound).initializeMemory(as: UInt8.self, repeating: 1, count: own.count)
        }
    }
    print("{\"open\": \(opening), \"touch\": \(touch)}")
    exit(0)
}
if options.turn {
    let tokenizer = try Tokenizer(directory: options.directory)
    var short = GenerationOptions.greedy
    short.maxNewTokens = 8
    let question = String(repeating: "one two three ", count: max(1, options.prompt / 3))
    for _ in 0..<options.runs {
        let session = try ChatSession(model, tokenizer, options: short)
        func toFirstToken(_ body: ((GenerationPiece) -> Bool) throws -> Void) rethrows -> Double {
            let start = clock.now
            var first: Double?
            try body { _ in
                first = first ?? (clock.now - start) / .seconds(1)
                return true
            }
            return first ?? .nan
        }
        let turn1 = try toFirstToken { _ = try session.send(question, onPiece: $0) }
        var answer: Generation?
        let turn2 = try toFirstToken { answer = try session.send("How many words were that?", onPiece: $0) }
        let fresh = try toFirstToken {
            _ = try model.replies(tokenizer, Array(session.messages.dropLast()), options: short, onPiece: $0)
        }
        print(
            "{\"turn1\": \(turn1), \"turn2\": \(turn2), \"fresh\": \(fresh), \"tokens\": \(answer?.promptTokens ?? 0), "
                + "\"computed\": \(answer?.computedPromptTokens ?? 0)}")
    }
    exit(0)
}
var random = RandomSource(seed: 1)
let ids = (0..<options.prompt).map { _ in Int32(random.below(min(150_000, model.configuration.vocabularySize))) }
var generation = GenerationOptions.greedy
generation.maxNewTokens = options.new
generation.ignoresStopIDs = true
var peak: Substring = "0"
for run in 0..<options.runs {
    var last = clock.now
    var times: [Double] = []
    _ = try model.generate(ids, options: generation) { _ in
        times.append((clock.now - last) / .seconds(1))
        last = clock.now
        return true
    }
    let decode = times.count > 1 ? median(Array(times.dropFirst())) : 0
    if run == 0 {  // before the measurements below take memory of their own
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }
        peak = line?.split(separator: " ").dropFirst().first ?? "0"
    }
    print(
        "{\"open\": \(opening), \"prefill\": \(times[0]), \"decode\": \(decode), \"bandwidth\": \(try bandwidth()), "
            + "\"limit\": \(try multiplierLimit()), \"peak_kib\": \(peak)}")
}
