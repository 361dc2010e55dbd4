/// One turn of a conversation.
public struct Message: Sendable, Equatable {
    /// Who speaks: "system", "user", "assistant", or, where the template allows it, any other name.
    public var role: String
    public var content: String
    /// Scales the loss of this message's supervised tokens. 0: none of them is supervised; 1 changes nothing.
    public var weight: Float

    public init(role: String, content: String, weight: Float = 1) {
        self.role = role
        self.content = content
        self.weight = weight
    }
}
