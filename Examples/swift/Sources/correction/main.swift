// A chat that learns from being corrected, all in one process.
//
//     swift run -c release correction [CHECKPOINT [LEARNING_RATE]]
//
// Every line of the input is said to the model. A line that begins with "!" is what it should have answered to the line
// before: the model is trained on that, and a new conversation begins, so that the next answer comes from its weights and
// not from what was said before. The small checkpoint that comes with the source wants a rate of 1e-2.

import QwenSFTCore
import QwenSFTStreaming

let arguments = CommandLine.arguments
let directory = arguments.count > 1 ? arguments[1] : "../tiny-qwen2"
let rate = arguments.count > 2 ? Double(arguments[2]) ?? 1e-3 : 1e-3
let mostSteps = 30
let wellLearned = 0.05  // further steps would only wear down everything else

let tokenizer = try Tokenizer(directory: directory)
let model = try Model(directory: directory)
let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: rate)))
let session = try ChatSession(model, tokenizer, options: .greedy)

/// Trains the model to give `answer` where it gave its last one.
func learn(_ answer: String) throws {
    do { try session.replaceAnswer(answer) } catch {
        return print("(there is no answer to correct yet)")
    }
    // The session's messages are all that the model saw, the default system prompt included.
    let batch = try Batch([session.messages], tokenizer: tokenizer, options: .init(labelPolicy: .lastAssistant))
    var losses = [try trainer.step(batch).loss]
    while let last = losses.last, last > wellLearned, losses.count < mostSteps {
        losses.append(try trainer.step(batch).loss)
    }
    print("(learned in \(losses.count) steps, loss \(losses[0]) -> \(losses[losses.count - 1]))")
    try session.reset()
}

print("> ", terminator: "")
while let line = readLine() {
    if line.hasPrefix("!") {
        try learn(String(line.dropFirst()))
    } else if !line.isEmpty {
        for try await piece in session.stream(line) { print(piece.text, terminator: "") }
        print()
    }
    print("> ", terminator: "")
}
print()
