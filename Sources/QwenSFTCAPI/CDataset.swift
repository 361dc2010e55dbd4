// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 8: datasets.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_dataset_options_init")
public func sft_dataset_options_init(
    _ options: UnsafeMutablePointer<sft_dataset_options>!, _ struct_size: Int
) -> sft_status {
    initialize(options, struct_size)
}

@implementation @_cdecl("sft_dataset_create")
public func sft_dataset_create(
    _ tokenizer: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int,
    _ message_counts: UnsafePointer<Int>!, _ conversation_count: Int,
    _ options: UnsafePointer<sft_preprocess_options>!, _ data_options: UnsafePointer<sft_dataset_options>!,
    _ dataset: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("dataset", dataset) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        let all = try conversations(messages, message_size, message_counts, conversation_count)
        let how: sft_dataset_options = try QwenSFTCAPI.options(data_options, "data_options")
        let limit = try how.core().data.limit ?? .max
        return try DatasetObject(Dataset(all).prefix(limit).reader(), tokenizer, options, how)
    }
}

@implementation @_cdecl("sft_dataset_open")
public func sft_dataset_open(
    _ tokenizer: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ path_size: Int,
    _ options: UnsafePointer<sft_preprocess_options>!, _ data_options: UnsafePointer<sft_dataset_options>!,
    _ dataset: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("dataset", dataset) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        let how: sft_dataset_options = try QwenSFTCAPI.options(data_options, "data_options")
        let file = try Dataset(path: QwenSFTCAPI.path(path, path_size, "path"), options: how.core().data)
        return try DatasetObject(file.reader(), tokenizer, options, how)
    }
}

@implementation @_cdecl("sft_dataset_read")
public func sft_dataset_read(
    _ tokenizer: OpaquePointer!, _ read: sft_read_callback!, _ user_data: UnsafeMutableRawPointer!,
    _ options: UnsafePointer<sft_preprocess_options>!, _ data_options: UnsafePointer<sft_dataset_options>!,
    _ dataset: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("dataset", dataset) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        guard let read else { throw .isNull("read") }
        let how: sft_dataset_options = try QwenSFTCAPI.options(data_options, "data_options")
        let stream = try ByteStream(name: "conversations") { (buffer) throws(QwenSFTError) in
            let start = buffer.baseAddress?.assumingMemoryBound(to: CChar.self)
            let count = Int(read(user_data, start, buffer.count))
            guard count >= 0 else { throw QwenSFTError(.cancelled, "the function that reads the data gave up") }
            guard count <= buffer.count else {
                throw QwenSFTError(
                    .invalidArgument, "the function that reads the data says \(count) bytes where \(buffer.count) fit")
            }
            return count
        }
        let reader = try ConversationReader(stream, isFile: false, how.core().data)
        return try DatasetObject(reader, tokenizer, options, how)
    }
}

@implementation @_cdecl("sft_dataset_free")
public func sft_dataset_free(_ dataset: OpaquePointer!) {
    Handle.free(dataset, as: DatasetObject.self)
}

@implementation @_cdecl("sft_dataset_get_info")
public func sft_dataset_get_info(
    _ dataset: OpaquePointer!, _ info: UnsafeMutablePointer<sft_dataset_info>!, _ info_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(info, info_size, "info") { () throws(QwenSFTError) in
            let data = try Handle.dataset(dataset).data
            let report = data.report
            return sft_dataset_info(
                conversations: report.kept, truncated: report.truncated.count,
                without_target: report.withoutTarget.count, too_long: report.tooLong.count,
                tokens: UInt64(report.tokens), supervised_tokens: UInt64(report.targets), read: report.read,
                duplicates: report.duplicates.count, control_tokens: report.controlTokens.count, rows: data.count,
                shortest: report.lengths.shortest, median: report.lengths.median,
                percentile_95: report.lengths.percentile95, longest: report.lengths.longest,
                roles: report.roles.count)
        }
    }
}

@implementation @_cdecl("sft_dataset_lines")
public func sft_dataset_lines(
    _ dataset: OpaquePointer!, _ part: sft_dataset_part, _ lines: UnsafeMutablePointer<Int>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(lines, capacity, count, "lines")
        let data = try Handle.dataset(dataset).data
        switch part {
        case SFT_PART_KEPT: try output.write((0..<data.conversationCount).lazy.map(data.line(ofConversation:)))
        case SFT_PART_TRUNCATED: try output.write(data.report.truncated)
        case SFT_PART_WITHOUT_TARGET: try output.write(data.report.withoutTarget)
        case SFT_PART_TOO_LONG: try output.write(data.report.tooLong)
        case SFT_PART_DUPLICATES: try output.write(data.report.duplicates)
        case SFT_PART_CONTROL_TOKENS: try output.write(data.report.controlTokens)
        default:
            throw QwenSFTError(.invalidArgument, "'part' is \(part), expected an SFT_PART constant")
        }
    }
}

@implementation @_cdecl("sft_dataset_get_role")
public func sft_dataset_get_role(
    _ dataset: OpaquePointer!, _ index: Int, _ role: UnsafeMutablePointer<sft_dataset_role>!, _ role_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(role, role_size, "role") { () throws(QwenSFTError) in
            let object = try Handle.dataset(dataset)
            return try element(index, of: object.roles, ("dataset", "roles"))
        }
    }
}

@implementation @_cdecl("sft_dataset_describe")
public func sft_dataset_describe(
    _ dataset: OpaquePointer!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(text, capacity, size, "text")
        try output.write(Handle.dataset(dataset).data.report.description.joined(separator: "\n"))
    }
}

@implementation @_cdecl("sft_dataset_batch")
public func sft_dataset_batch(
    _ dataset: OpaquePointer!, _ conversations: UnsafePointer<Int>!, _ count: Int,
    _ batch: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("batch", batch) { () throws(QwenSFTError) in
        let data = try Handle.dataset(dataset).data
        let numbers = try copy(of: array(conversations, count, "conversations"), "conversations")
        return BatchObject(try data.batch(ofConversations: numbers))
    }
}

@implementation @_cdecl("sft_dataset_split")
public func sft_dataset_split(
    _ dataset: OpaquePointer!, _ share: Double, _ seed: UInt64, _ training: UnsafeMutablePointer<OpaquePointer?>!,
    _ validation: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    validation?.pointee = nil
    return creating("training", training) { () throws(QwenSFTError) in
        let data = try Handle.dataset(dataset).data
        guard let validation else { throw .isNull("validation") }
        let halves: (training: EncodedDataset, validation: EncodedDataset?)
        if share == 0 {
            halves = try data.holdOut(seed: seed)
        } else {
            halves = try data.split(share: share, seed: seed)
        }
        let object = DatasetObject(halves.training)
        if let other = halves.validation { validation.pointee = try Handle.make(DatasetObject(other)) }
        return object
    }
}

/// Conversations to train on. The core's is a value.
final class DatasetObject {
    let data: EncodedDataset
    let roles: [sft_dataset_role]

    init(_ data: EncodedDataset) {
        self.data = data
        roles = data.report.roles.map {
            sft_dataset_role(name: lentCopy(of: $0.role), name_size: $0.role.utf8.count, messages: $0.messages)
        }
    }

    deinit { for role in roles { role.name.deallocate() } }

    convenience init(
        _ reader: ConversationReader, _ tokenizer: Tokenizer, _ options: UnsafePointer<sft_preprocess_options>?,
        _ how: sft_dataset_options
    ) throws(QwenSFTError) {
        let how = try how.core()
        try self.init(
            EncodedDataset(
                reader, tokenizer: tokenizer, options: QwenSFTCAPI.options(options).core(), unusable: how.unusable,
                isStrict: how.isStrict))
    }
}

extension Handle {
    static func dataset(_ pointer: OpaquePointer?) throws(QwenSFTError) -> DatasetObject {
        try object(pointer, as: DatasetObject.self, "dataset")
    }
}

/// What the core takes apart.
struct DatasetOptions {
    var data = Dataset.Options()
    var drops = false
    var isStrict = false

    var unusable: EncodedDataset.Unusable { drops ? .drop : .refuse }
}

extension sft_dataset_options: OptionsStruct {
    static var coreDefaults: DatasetOptions { DatasetOptions() }
    static var fields: [OptionsField<Self, DatasetOptions>] {
        [
            OptionsField(
                read: { (options, core) throws(QwenSFTError) in
                    if options.columns == nil, options.columns_size == 0 { return }
                    core.data.names = try ColumnNames(text(options.columns, options.columns_size, "columns"))
                }, write: { _, _ in }),
            .size("limit", \.limit, \.data.limit),
            .constant("format", dataFormats, \.format, \.data.format),
            .flag("drops_unusable", \.drops_unusable, \.drops),
            .flag("is_strict", \.is_strict, \.isStrict),
            .reserved(\.reserved),
        ]
    }
}
