"""A chat that learns from being corrected, all in one process.

    python correction.py [CHECKPOINT [LEARNING_RATE]]

Every line of the input is said to the model. A line that begins with "!" is what it should have answered to the line
before: the model is trained on that, and a new conversation begins, so that the next answer comes from its weights and not
from what was said before. The small checkpoint that comes with the source wants a rate of 1e-2.
"""

import os
import sys

import qwensft

MOST_STEPS, WELL_LEARNED = 30, 0.05  # further steps would only wear down everything else

here = os.path.dirname(os.path.abspath(__file__))
directory, rate = (sys.argv[1:] + [os.path.join(here, "../tiny-qwen2"), "1e-3"][len(sys.argv) - 1 :])[:2]
tok = qwensft.Tokenizer.from_pretrained(directory)
model = qwensft.Model.from_pretrained(directory)
trainer = qwensft.Trainer(model, qwensft.SGD(lr=float(rate)))
session = model.session(tok, do_sample=False, repetition_penalty=1.0)


def learn(answer: str) -> None:
    """Trains the model to give this answer where it gave its last one."""
    try:
        session.replace_answer(answer)
    except ValueError:
        print("(there is no answer to correct yet)")
        return
    # The session's messages are all that the model saw, the default system prompt included.
    batch = qwensft.preprocess(tok, [session.messages], label_policy="last_assistant")
    losses = [trainer.step(batch).loss]
    while losses[-1] > WELL_LEARNED and len(losses) < MOST_STEPS:
        losses.append(trainer.step(batch).loss)
    print(f"(learned in {len(losses)} steps, loss {losses[0]:.4f} -> {losses[-1]:.4f})")
    session.reset()


print("> ", end="", flush=True)
for line in map(str.strip, sys.stdin):
    if line.startswith("!"):
        learn(line[1:])
    elif line:
        for piece in session.stream(line):
            print(piece, end="", flush=True)
        print()
    print("> ", end="", flush=True)
print()
