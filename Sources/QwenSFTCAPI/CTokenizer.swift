// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 2: the tokenizer.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_tokenizer_open")
public func sft_tokenizer_open(
    _ directory: UnsafePointer<CChar>!, _ directory_size: Int, _ tokenizer: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("tokenizer", tokenizer) { () throws(QwenSFTError) in
        try Tokenizer(directory: path(directory, directory_size, "directory"))
    }
}

@implementation @_cdecl("sft_tokenizer_with_chat_template")
public func sft_tokenizer_with_chat_template(
    _ tokenizer: OpaquePointer!, _ chat_template: UnsafePointer<CChar>!, _ chat_template_size: Int,
    _ arguments: UnsafePointer<CChar>!, _ arguments_size: Int, _ changed: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("changed", changed) { () throws(QwenSFTError) in
        let template = chat_template == nil ? nil : try text(chat_template, chat_template_size, "chat_template")
        return try Handle.tokenizer(tokenizer).withChatTemplate(
            template, arguments: arguments == nil ? "" : text(arguments, arguments_size, "arguments"))
    }
}

@implementation @_cdecl("sft_tokenizer_free")
public func sft_tokenizer_free(_ tokenizer: OpaquePointer!) {
    Handle.free(tokenizer, as: Tokenizer.self)
}

@implementation @_cdecl("sft_tokenizer_get_info")
public func sft_tokenizer_get_info(
    _ tokenizer: OpaquePointer!, _ info: UnsafeMutablePointer<sft_tokenizer_info>!, _ info_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(info, info_size, "info") { () throws(QwenSFTError) in
            let tokenizer = try Handle.tokenizer(tokenizer)
            return sft_tokenizer_info(
                vocabulary_size: tokenizer.vocabularySize, count: tokenizer.count,
                model_max_length: tokenizer.modelMaxLength == .max ? -1 : tokenizer.modelMaxLength,
                eos_token_id: tokenizer.eosTokenID ?? -1,
                pad_token_id: tokenizer.padTokenID ?? -1, added_tokens: tokenizer.addedTokens.count)
        }
    }
}

@implementation @_cdecl("sft_tokenizer_summary")
public func sft_tokenizer_summary(
    _ tokenizer: OpaquePointer!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(text, capacity, size, "text")
        try output.write(Handle.tokenizer(tokenizer).summary)
    }
}

@implementation @_cdecl("sft_tokenizer_encode")
public func sft_tokenizer_encode(
    _ tokenizer: OpaquePointer!, _ text: UnsafePointer<CChar>!, _ text_size: Int, _ split_special_tokens: Int32,
    _ ids: UnsafeMutablePointer<Int32>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(ids, capacity, count, "ids")
        let tokenizer = try Handle.tokenizer(tokenizer)
        let text = try utf8(text, text_size, "text")
        let splits = try flag(split_special_tokens, "split_special_tokens")
        try output.fill { (ids) throws(QwenSFTError) in
            try tokenizer.encode(utf8: text, splitSpecialTokens: splits, to: ids)
        }
    }
}

@implementation @_cdecl("sft_tokenizer_encode_texts")
public func sft_tokenizer_encode_texts(
    _ tokenizer: OpaquePointer!, _ texts: UnsafePointer<sft_text>!, _ text_count: Int, _ split_special_tokens: Int32,
    _ ids: UnsafeMutablePointer<Int32>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!,
    _ offsets: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(ids, capacity, count, "ids")
        let tokenizer = try Handle.tokenizer(tokenizer)
        let texts = try TextList(texts, text_count, "texts")
        guard let offsets else { throw .isNull("offsets") }
        let rows = try tokenizer.encodeBatch(
            count: texts.count, size: texts.size,
            splitSpecialTokens: flag(split_special_tokens, "split_special_tokens"), texts.utf8)
        try output.write(count: rows.reduce(0) { $0 + $1.count }) { (ids) in
            var end = 0
            offsets[0] = 0
            for (i, row) in rows.enumerated() {
                end = UnsafeMutableBufferPointer(rebasing: ids[end...]).update(fromContentsOf: row) + end
                offsets[i + 1] = end
            }
        }
    }
}

@implementation @_cdecl("sft_tokenizer_decode")
public func sft_tokenizer_decode(
    _ tokenizer: OpaquePointer!, _ ids: UnsafePointer<Int32>!, _ id_count: Int, _ skip_special_tokens: Int32,
    _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(text, capacity, size, "text")
        let tokenizer = try Handle.tokenizer(tokenizer)
        let ids = try tokenIDs(ids, id_count, "ids")
        let text = try tokenizer.decode(ids, skipSpecialTokens: flag(skip_special_tokens, "skip_special_tokens"))
        try text.withBuffer { (utf8) throws(QwenSFTError) in try output.write(utf8) }
    }
}

@implementation @_cdecl("sft_tokenizer_token_to_id")
public func sft_tokenizer_token_to_id(
    _ tokenizer: OpaquePointer!, _ token: UnsafePointer<CChar>!, _ token_size: Int, _ id: UnsafeMutablePointer<Int32>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        guard let id else { throw .isNull("id") }
        id.pointee = 0
        let tokenizer = try Handle.tokenizer(tokenizer)
        id.pointee = try tokenizer.tokenID(of: text(token, token_size, "token")) ?? -1
    }
}

@implementation @_cdecl("sft_tokenizer_id_to_token")
public func sft_tokenizer_id_to_token(
    _ tokenizer: OpaquePointer!, _ id: Int32, _ token: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(token, capacity, size, "token")
        guard let text = try Handle.tokenizer(tokenizer).token(of: id) else {
            throw QwenSFTError(.invalidArgument, "id \(id) has no token")
        }
        try output.write(text)
    }
}

@implementation @_cdecl("sft_tokenizer_get_added_token")
public func sft_tokenizer_get_added_token(
    _ tokenizer: OpaquePointer!, _ index: Int, _ token: UnsafeMutablePointer<sft_added_token>!, _ token_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(token, token_size, "token") { () throws(QwenSFTError) in
            let added = try element(index, of: Handle.tokenizer(tokenizer).addedTokens, ("tokenizer", "added tokens"))
            return sft_added_token(id: added.id, is_special: added.isSpecial ? 1 : 0)
        }
    }
}

@implementation @_cdecl("sft_decoder_create")
public func sft_decoder_create(
    _ tokenizer: OpaquePointer!, _ skip_special_tokens: Int32, _ decoder: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("decoder", decoder) { () throws(QwenSFTError) in
        let tokenizer = try Handle.tokenizer(tokenizer)
        return DecoderObject(
            StreamingDecoder(tokenizer, skipSpecialTokens: try flag(skip_special_tokens, "skip_special_tokens")))
    }
}

@implementation @_cdecl("sft_decoder_free")
public func sft_decoder_free(_ decoder: OpaquePointer!) {
    Handle.free(decoder, as: DecoderObject.self)
}

@implementation @_cdecl("sft_decoder_append")
public func sft_decoder_append(
    _ decoder: OpaquePointer!, _ id: Int32, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(text, capacity, size, "text")
        let object = try Handle.object(decoder, as: DecoderObject.self, "decoder")
        guard id >= 0 else { throw QwenSFTError(.invalidArgument, "'id' is \(id), expected a token id") }
        try object.write(output) { $0.append(id) }
    }
}

@implementation @_cdecl("sft_decoder_finish")
public func sft_decoder_finish(
    _ decoder: OpaquePointer!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ size: UnsafeMutablePointer<Int>!
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let output = try Output(text, capacity, size, "text")
        try Handle.object(decoder, as: DecoderObject.self, "decoder").write(output) { $0.finish() }
    }
}

/// A decoder, used by one thread at a time.
final class DecoderObject {
    private var decoder: StreamingDecoder
    private let exclusively = Exclusive()

    init(_ decoder: StreamingDecoder) { self.decoder = decoder }

    /// Writes what `step` makes certain; the decoder moves on only when it has been written.
    func write(_ output: Output<CChar>, _ step: (inout StreamingDecoder) -> String) throws(QwenSFTError) {
        try exclusively("decoder") { () throws(QwenSFTError) in
            var next = decoder
            try output.write(step(&next))
            decoder = next
        }
    }
}

extension Handle {
    static func tokenizer(_ pointer: OpaquePointer?) throws(QwenSFTError) -> Tokenizer {
        try object(pointer, as: Tokenizer.self, "tokenizer")
    }
}

/// An array of ids, none below 0.
func tokenIDs(
    _ ids: UnsafePointer<Int32>?, _ count: Int, _ name: String
) throws(QwenSFTError) -> UnsafeBufferPointer<Int32> {
    let ids = try array(ids, count, name)
    if let i = ids.firstIndex(where: { $0 < 0 }) {
        throw QwenSFTError(.invalidArgument, "\(name)[\(i)] is \(ids[i]), expected a token id")
    }
    return ids
}
