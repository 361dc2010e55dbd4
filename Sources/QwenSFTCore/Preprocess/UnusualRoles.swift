/// Roles whose content the label policy `qwen` learns although hardly anybody means that: all but system, user, tool and assistant.
/// Data from elsewhere calls the user "human" and the assistant "gpt"; then the human's text is learned too.
struct UnusualRoles {
    /// In the order of their first appearance; more than a few would only be noise.
    private var counts: [(role: String, count: Int)] = []
    private static let most = 8

    mutating func count(_ roles: [String]) {
        for role in roles {
            if let i = counts.firstIndex(where: { $0.role == role }) {
                counts[i].count += 1
            } else if counts.count < Self.most {
                counts.append((role, 1))
            }
        }
    }

    /// What to say of them; nil where there were none.
    var text: String? {
        if counts.isEmpty { return nil }
        let list = counts.map { "'\(printable($0.role))' (\($0.count) messages)" }.joined(separator: ", ")
        return "the label policy 'qwen' learns what every role but system, user and tool says, here also "
            + list + "; a policy such as 'assistant' does not"
    }
}
