"""Fine-tunes a chat model on one question and watches its answer change.

    python article.py [CHECKPOINT [OUTPUT [LEARNING_RATE]]]

The rate is 1e-3, and 1e-2 for the small checkpoint that comes with the source and is taken without arguments: small models have small
gradients.
"""

import os
import sys

import qwensft

here = os.path.dirname(os.path.abspath(__file__))
defaults = [os.path.join(here, "../tiny-qwen2"), "fine-tuned", "1e-3" if len(sys.argv) > 1 else "1e-2"]
directory, output, rate = (sys.argv[1:] + defaults[len(sys.argv) - 1 :])[:3]

tok = qwensft.Tokenizer.from_pretrained(directory)
model = qwensft.Model.from_pretrained(directory)
print(tok)

# What the model says now.
question = [
    {"role": "system", "content": "You are a helpful assistant."},
    {"role": "user", "content": "2+2等于几"},
]
greedy = dict(do_sample=False, repetition_penalty=1.0)
print("before:", model.chat(tok, question, **greedy))

# What it should say, as ids and labels; -100 is not learned.
conversation = question + [{"role": "assistant", "content": "2+2等于5。"}]
batch = qwensft.preprocess(tok, [conversation, conversation])
print("input_ids:", *batch.input_ids[0])
print("labels:", *batch.labels[0])

# Ten steps of plain gradient descent; more would teach this answer at the cost of others.
trainer = qwensft.Trainer(model, optimizer=qwensft.SGD(lr=float(rate)))
for step in range(1, 11):
    metrics = trainer.step(batch)
    print(f"step {step}: loss {metrics.loss} over {metrics.supervised_tokens} tokens, {metrics.seconds:.2f} s")

print("after:", model.chat(tok, question, **greedy))
model.save_pretrained(output)
print("saved to", output)
