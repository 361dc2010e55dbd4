/// One turn of a conversation.
public struct Message: Sendable, Equatable {
    /// Who speaks: "system", "user", "assistant", "tool", or, where the template allows it, any other name.
    public var role: String
    public var content: String
    /// Scales the loss of this message's supervised tokens. 0: none of them is supervised; 1 changes nothing.
    public var weight: Float
    /// More for the template to see, as a JSON object: `{"tool_calls": […], "reasoning_content": "…"}`. A key "role" or "content"
    /// in it takes the place of the field of that name. In the first message of a conversation also `"tools": […]`, the functions that the
    /// model may call in it. Empty: nothing.
    public var fields: String

    public init(role: String, content: String, weight: Float = 1, fields: String = "") {
        self.role = role
        self.content = content
        self.weight = weight
        self.fields = fields
    }

    func moreFields(_ index: Int) throws(QwenSFTError) -> JSONObject {
        fields.isEmpty ? JSONObject() : try chatObject(fields, "message \(index): 'fields'")
    }

    /// The message as a template sees it.
    func value(_ index: Int, _ more: JSONObject, _ watch: ContentWatch) -> JinjaValue {
        let number = Int32(clamping: index)
        var pairs: [(key: JinjaValue, value: JinjaValue)] = [
            (Self.roleKey, .text(JinjaText(role, TextOrigin(.role, message: number)))),
            (
                Self.contentKey,
                .text(JinjaText(Array(content.utf8), TextOrigin(.content, message: number), watch: watch))
            ),
        ]
        let origin = TextOrigin(.field, message: number)
        for (key, value) in more.members {
            pairs.append((.text(JinjaText(key, origin)), JinjaValue(value, origin)))
        }
        return .dict(JinjaDict(pairs, origin: origin, message: number))
    }

    private nonisolated(unsafe) static let roleKey = JinjaValue.text(JinjaText("role", TextOrigin(.field)))
    private nonisolated(unsafe) static let contentKey = JinjaValue.text(JinjaText("content", TextOrigin(.field)))
}
