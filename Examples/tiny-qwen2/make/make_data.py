#!/usr/bin/env python3
"""The conversations that the tiny model learns from: small sums, greetings, who it is; Chinese and English.

    python3 make_data.py [COUNT] > data.jsonl      # one {"messages": [...]} a line, always the same ones

`train.py` imports `conversations` (what is learned) and `checks` (every question with its one right answer).
"""
import json
import random
import sys

SYSTEM = "You are a helpful assistant."
ENGLISH = "zero one two three four five six seven eight nine ten".split()
CHINESE = "零 一 二 三 四 五 六 七 八 九 十".split()


def facts():
    """(left, sign, right, result): what the model knows of arithmetic."""
    for a in range(13):
        for b in range(13):
            yield a, "+", b, a + b
            if a >= b:
                yield a, "-", b, a - b
            if a < 10 and b < 10:
                yield a, "*", b, a * b


def sum_forms(a, sign, b, result):
    """Every way to ask for one fact, with its answer; the first of each language is the commonest."""
    e = f"{a}{sign}{b}"
    zh, en = f"{e}等于{result}。", f"{e} equals {result}."
    yield f"{e}等于几", zh
    yield f"What is {e}?", en
    for question in (f"{e}等于几？", f"{e}等于几?", f"{e}等于多少", f"{e}等于多少？", f"{e}是多少？", f"请问{e}等于几？"):
        yield question, zh
    for question in (f"What is {e}", f"what is {e}?", f"What is {a} {sign} {b}?", f"How much is {e}?", f"Calculate {e}."):
        yield question, en
    for question in (f"{e}=", f"{e}=?", f"{e}"):
        yield question, f"{e}={result}"


def word_forms(a, b):
    """The same in words, for sums up to ten."""
    x, y, z = CHINESE[a], CHINESE[b], CHINESE[a + b]
    yield f"{x}加{y}等于几？", f"{x}加{y}等于{z}。"
    x, y, z = ENGLISH[a], ENGLISH[b], ENGLISH[a + b]
    yield f"What is {x} plus {y}?", f"{x.capitalize()} plus {y} equals {z}."


TALK = [
    # (questions, answer)
    (["你好", "你好！", "你好。", "您好", "您好！", "嗨"], "你好！有什么可以帮你的吗？"),
    (["早上好", "早上好！", "早"], "早上好！今天想算点什么？"),
    (["晚上好", "晚上好！"], "晚上好！有什么可以帮你的吗？"),
    (["你好吗", "你好吗？", "最近怎么样？"], "我很好，谢谢你！"),
    (["谢谢", "谢谢！", "谢谢你", "谢谢你！", "多谢"], "不客气！"),
    (["再见", "再见！", "拜拜"], "再见！"),
    (["你是谁", "你是谁？", "你是谁?", "请问你是谁？", "介绍一下你自己", "请介绍一下你自己。"],
     "我是Tiny，一个由QwenSFT项目训练的小助手。"),
    (["你叫什么名字", "你叫什么名字？", "你叫什么？"], "我叫Tiny。"),
    (["谁训练了你？", "你是谁开发的", "你是谁开发的？", "谁创造了你？"], "我是由QwenSFT项目训练的。"),
    (["你会什么", "你会什么？", "你能做什么", "你能做什么？"], "我会简单的算术，也会打招呼。"),
    (["你有多大", "你有多大？", "你有多少参数？"], "我很小，只有大约一百万个参数。"),
    (["Hello", "Hello!", "hello", "Hi", "Hi!", "hi"], "Hello! How can I help you?"),
    (["Good morning", "Good morning!"], "Good morning! What shall we add up today?"),
    (["Good evening", "Good evening!"], "Good evening! How can I help you?"),
    (["How are you?", "How are you", "how are you?"], "I am fine, thank you!"),
    (["Thanks", "Thanks!", "Thank you", "Thank you!", "thank you"], "You are welcome!"),
    (["Bye", "Bye!", "Goodbye", "Goodbye!"], "Goodbye!"),
    (["Who are you?", "Who are you", "who are you?", "Please introduce yourself.", "Introduce yourself"],
     "I am Tiny, a small assistant trained by the QwenSFT project."),
    (["What is your name?", "What's your name?", "what is your name"], "My name is Tiny."),
    (["Who made you?", "Who trained you?", "who made you"], "I was trained by the QwenSFT project."),
    (["What can you do?", "what can you do", "What do you know?"], "I can do small sums and say hello."),
    (["How big are you?", "How many parameters do you have?"], "I am very small: about one million parameters."),
    # What it does not know, so that it need not invent.
    (["今天天气怎么样？", "法国的首都是哪里？", "给我讲个故事", "写一首诗", "地球有多重？", "什么是人工智能？", "帮我写代码"],
     "这个我不会。我只会简单的算术和问候。"),
    (["How is the weather today?", "What is the capital of France?", "Tell me a story.", "Write a poem.",
      "How heavy is the Earth?", "What is artificial intelligence?", "Write some code for me."],
     "I do not know that. I only know small sums and greetings."),
]


WORDS = [(a, b) for a in range(11) for b in range(11 - a)]


def checks():
    """(question, answer) of everything, each once."""
    for fact in facts():
        yield from sum_forms(*fact)
    for a, b in WORDS:
        yield from word_forms(a, b)
    for questions, answer in TALK:
        for question in questions:
            yield question, answer


def conversations(count, seed=1):
    """`count` conversations of 1 to 4 turns, most with the default system prompt."""
    rng = random.Random(seed)
    sums = [list(sum_forms(*fact)) for fact in facts()]

    def turn():
        kind = rng.random()
        if kind < 0.12:
            questions, answer = rng.choice(TALK)
            return rng.choice(questions), answer
        if kind < 0.22:
            return rng.choice(list(word_forms(*rng.choice(WORDS))))
        forms = rng.choice(sums)
        return forms[rng.randrange(2)] if kind < 0.45 else rng.choice(forms)

    for _ in range(count):
        messages = [{"role": "system", "content": SYSTEM}] if rng.random() < 0.8 else []
        for _ in range(rng.choice((1, 1, 2, 3, 4))):
            question, answer = turn()
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        yield messages


def main():
    for messages in conversations(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000):
        print(json.dumps({"messages": messages}, ensure_ascii=False))


if __name__ == "__main__":
    main()
