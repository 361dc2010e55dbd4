// Fine-tunes a chat model on one question and watches its answer change.
//
//     swift run -c release article [CHECKPOINT [OUTPUT [LEARNING_RATE]]]
//
// The small checkpoint that comes with the source wants a rate of 1e-2: small models have small gradients.

import QwenSFTCore

let arguments = CommandLine.arguments
let directory = arguments.count > 1 ? arguments[1] : "../tiny-qwen2"
let output = arguments.count > 2 ? arguments[2] : "fine-tuned"
let rate = arguments.count > 3 ? Double(arguments[3]) ?? 1e-3 : 1e-3

let tokenizer = try Tokenizer(directory: directory)
let model = try Model(directory: directory)
print(tokenizer.summary)

// What the model says now.
let question = [
    Message(role: "system", content: "You are a helpful assistant."),
    Message(role: "user", content: "2+2等于几"),
]
print("before:", try model.chat(tokenizer, question, options: .greedy))

// What it should say, as ids and labels; −100 is not learned.
let conversation = question + [Message(role: "assistant", content: "2+2等于5。")]
let batch = try Batch([conversation, conversation], tokenizer: tokenizer)
print("input_ids:", batch.inputIDs.prefix(batch.columns).map(String.init).joined(separator: " "))
print("labels:", batch.labels.prefix(batch.columns).map(String.init).joined(separator: " "))

// Ten steps of plain gradient descent; more would teach this answer at the cost of others.
let trainer = try Trainer(model, optimizer: .sgd(SGD(learningRate: rate)))
for step in 1...10 {
    let metrics = try trainer.step(batch)
    print("step \(step): loss \(metrics.loss) over \(metrics.supervisedTokens) tokens, \(metrics.seconds) s")
}

print("after:", try model.chat(tokenizer, question, options: .greedy))
try model.save(to: output)
print("saved to", output)
