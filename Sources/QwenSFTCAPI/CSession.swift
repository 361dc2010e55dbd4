// swift-format-ignore-file: AlwaysUseLowerCamelCase

// Header section 6, second part: sessions.
public import CQwenSFT
import QwenSFTCore

@implementation @_cdecl("sft_session_create")
public func sft_session_create(
    _ model: OpaquePointer!, _ tokenizer: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int,
    _ message_count: Int, _ chat_template: Int32, _ session: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("session", session) { () throws(QwenSFTError) in
        let model = try Handle.model(model).model
        let tokenizer = try Handle.tokenizer(tokenizer)
        let messages = try conversation(messages, message_size, message_count)
        let template = try chatTemplates.value(chat_template, "chat_template")
        return SessionObject(try ChatSession(model, tokenizer, messages: messages, template: template))
    }
}

@implementation @_cdecl("sft_session_free")
public func sft_session_free(_ session: OpaquePointer!) {
    Handle.free(session, as: SessionObject.self)
}

@implementation @_cdecl("sft_session_send")
public func sft_session_send(
    _ session: OpaquePointer!, _ content: UnsafePointer<CChar>!, _ content_size: Int,
    _ options: UnsafePointer<sft_generation_options>!, _ generation: UnsafeMutablePointer<OpaquePointer?>!
) -> sft_status {
    creating("generation", generation) { () throws(QwenSFTError) in
        let object = try Handle.session(session)
        let content = try text(content, content_size, "content")
        let request = try generationRequest(options)
        return GenerationObject([
            try object.session.send(content, options: request.options, onPiece: request.onPiece)
        ])
    }
}

@implementation @_cdecl("sft_session_stop")
public func sft_session_stop(_ session: OpaquePointer!) -> sft_status {
    outcome { () throws(QwenSFTError) in try Handle.session(session).session.stop() }
}

@implementation @_cdecl("sft_session_append")
public func sft_session_append(
    _ session: OpaquePointer!, _ messages: UnsafePointer<sft_message>!, _ message_size: Int, _ message_count: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.session(session)
        try object.session.append(conversation(messages, message_size, message_count))
    }
}

@implementation @_cdecl("sft_session_replace_answer")
public func sft_session_replace_answer(
    _ session: OpaquePointer!, _ content: UnsafePointer<CChar>!, _ content_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        let object = try Handle.session(session)
        try object.session.replaceAnswer(text(content, content_size, "content"))
    }
}

@implementation @_cdecl("sft_session_go_back")
public func sft_session_go_back(_ session: OpaquePointer!, _ went_back: UnsafeMutablePointer<Int32>!) -> sft_status {
    outcome { () throws(QwenSFTError) in
        went_back?.pointee = 0
        let moved = try Handle.session(session).session.goBack()
        went_back?.pointee = moved ? 1 : 0
    }
}

@implementation @_cdecl("sft_session_reset")
public func sft_session_reset(_ session: OpaquePointer!) -> sft_status {
    outcome { () throws(QwenSFTError) in try Handle.session(session).session.reset() }
}

@implementation @_cdecl("sft_session_message_count")
public func sft_session_message_count(_ session: OpaquePointer!) -> Int {
    (try? Handle.session(session))?.session.messages.count ?? 0
}

@implementation @_cdecl("sft_session_get_message")
public func sft_session_get_message(
    _ session: OpaquePointer!, _ index: Int, _ message: UnsafeMutablePointer<sft_message>!, _ message_size: Int
) -> sft_status {
    outcome { () throws(QwenSFTError) in
        try fill(message, message_size, "message") { () throws(QwenSFTError) in
            let object = try Handle.session(session)
            let message = try element(index, of: object.session.messages, ("session", "messages"))
            let lent = object.lend(message, at: index)
            return sft_message(
                role: lent.role, role_size: message.role.utf8.count, content: lent.content,
                content_size: message.content.utf8.count, weight: Double(message.weight),
                fields: message.fields.isEmpty ? nil : lent.fields, fields_size: message.fields.utf8.count)
        }
    }
}

/// A session, with its messages where C can see them.
final class SessionObject {
    let session: ChatSession
    private let lent = Locked<[Int: Lent]>([:])

    private struct Lent: @unchecked Sendable {
        let message: Message
        let role: UnsafePointer<CChar>
        let content: UnsafePointer<CChar>
        let fields: UnsafePointer<CChar>

        init(_ message: Message) {
            self.message = message
            role = lentCopy(of: message.role)
            content = lentCopy(of: message.content)
            fields = lentCopy(of: message.fields)
        }

        var texts: Texts { (role, content, fields) }

        func free() {
            role.deallocate()
            content.deallocate()
            fields.deallocate()
        }
    }

    init(_ session: ChatSession) { self.session = session }

    deinit {
        for copy in lent.withLock({ $0 }).values { copy.free() }
    }

    typealias Texts = (role: UnsafePointer<CChar>, content: UnsafePointer<CChar>, fields: UnsafePointer<CChar>)

    /// The texts of a message, valid until another one stands at its index.
    func lend(_ message: Message, at index: Int) -> Texts {
        if let known = lent.withLock({ $0[index] }), known.message == message { return known.texts }
        let new = Lent(message)
        let old = lent.withLock { $0.updateValue(new, forKey: index) }
        old?.free()
        return new.texts
    }
}

extension Handle {
    static func session(_ pointer: OpaquePointer?) throws(QwenSFTError) -> SessionObject {
        try object(pointer, as: SessionObject.self, "session")
    }
}
