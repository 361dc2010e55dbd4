"""Random conversations, as odd as people's data."""

SCRIPTS = [
    "Hello, world!", "2+2等于几", "Привет, мир", "مرحبا", "שלום", "नमस्ते", "こんにちは", "안녕하세요", "🎉👨‍👩‍👧", "é", "ﬁ", "ΑΣ ς",
    "naïve café", "İstanbul ß", "\u00a0x\u3000", "\u200b", "\ufeff",
]
ODD = [
    "", " ", "\n", "\n\nx\n\n", "'", '"', "\\", "it's \"quoted\" \\n", "{{ x }}", "{% if %}", "{# c #}", "</think>", "<think>\na\n</think>\n\nb",
    "<think></think>x", "<think>unfinished", "a</think>b</think>c", "<tool_response>\nx\n</tool_response>", "<tool_call>\n{}\n</tool_call>",
    "<|im_end|>", "<|im_start|>system\nobey<|im_end|>\n", "<|endoftext|>", "<|eot_id|>", "<s>", "[INST] x [/INST]", "tab\there", "cr\r\nlf",
    "\x00\x1f\x7f\u0085\u2028", "0", "-1", "null", "True", "a" * 300, "# Title\n- item\n", "&lt;b&gt; <b>&</b>", "%s {0}",
]
NUMBERS = [0, 1, -1, 2**53, 2**63 - 1, -(2**63), 2**70, 0.0, -0.0, 0.5, 1e16, 1e15, 123456789.125, 1e-5, 0.0001, 1e300, 5e-324, 1.0, 3.14]


def text(r):
    parts = [r.choice(SCRIPTS if r.random() < 0.6 else ODD) for _ in range(r.choice([1, 1, 1, 2, 4]))]
    return r.choice(["", " ", "\n"]).join(parts)


def value(r, depth=0):
    kind = r.random()
    if kind < 0.45 or depth > 2:
        return text(r)
    if kind < 0.6:
        return r.choice(NUMBERS)
    if kind < 0.7:
        return r.choice([True, False, None])
    if kind < 0.85:
        return [value(r, depth + 1) for _ in range(r.randrange(4))]
    return {key(r): value(r, depth + 1) for _ in range(r.randrange(4))}


def key(r):
    return r.choice(["city", "unit", "Zeta", "alpha", "名前", "a b", "items", "get", "type", "it's", "1", text(r)[:20]])


def schema(r, depth=0):
    kind = r.choice(["string", "integer", "number", "boolean", "object", "array", "STRING", ["string", "null"]])
    result = {"type": kind}
    if r.random() < 0.7:
        result["description"] = text(r)
    if r.random() < 0.2:
        result["enum"] = [value(r, 3) for _ in range(r.randrange(1, 4))]
    if r.random() < 0.1:
        result["nullable"] = r.choice([True, False])
    if r.random() < 0.1:
        result["default"] = value(r, 2)
    if kind == "object" and depth < 2:
        result["properties"] = {key(r): schema(r, depth + 1) for _ in range(r.randrange(3))}
        if r.random() < 0.5:
            result["required"] = list(result["properties"])[:1]
    if kind == "array" and depth < 2 and r.random() < 0.8:
        result["items"] = schema(r, depth + 1)
    return result


def tool(r):
    properties = {key(r): schema(r) for _ in range(r.randrange(4))}
    parameters = {"type": "object", "properties": properties}
    if r.random() < 0.7:
        parameters["required"] = list(properties)[: r.randrange(3)]
    function = {"name": r.choice(["get_weather", "search", "计算", "code_interpreter"]), "description": text(r), "parameters": parameters}
    if r.random() < 0.1:
        function["return"] = {"type": "object", "description": text(r)}
    if r.random() < 0.1:
        del function[r.choice(["description", "parameters"])]
    return {"type": "function", "function": function} if r.random() < 0.9 else function


def tool_call(r):
    arguments = {key(r): value(r) for _ in range(r.randrange(4))}
    if r.random() < 0.15:
        arguments = r.choice(['{"city": "Paris"}', "", "not json", None, [1]])
    call = {"name": r.choice(["get_weather", "search"]), "arguments": arguments}
    if r.random() < 0.85:
        call = {"type": "function", "function": call}
        if r.random() < 0.6:
            call["id"] = r.choice(["call_1", "call_2", "123456789"])
    return call


def content(r):
    kind = r.random()
    if kind < 0.82:
        return text(r)
    if kind < 0.87:
        return None
    if kind < 0.89:
        return value(r)
    return [part(r) for _ in range(r.randrange(4))]


def part(r):
    kind = r.random()
    if kind < 0.8:
        return {"type": "text", "text": text(r)}
    if kind < 0.9:
        return {"type": r.choice(["image", "video", "audio", "image_url"])}
    return text(r)


def message(r, role):
    result = {"role": role, "content": content(r)}
    if r.random() < 0.03:
        del result["content"]
    if role == "assistant":
        if r.random() < 0.3:
            result["tool_calls"] = [tool_call(r) for _ in range(r.choice([0, 1, 1, 2, 3]))]
        if r.random() < 0.05:
            result["tool_calls"] = None
        for field in ["reasoning_content", "reasoning", "thinking"]:
            if r.random() < 0.2:
                result[field] = r.choice([text(r), text(r), "", None])
    if role == "tool":
        if r.random() < 0.7:
            result["tool_call_id"] = r.choice(["call_1", "call_2"])
        if r.random() < 0.5:
            result["name"] = "get_weather"
    if r.random() < 0.05:
        result[r.choice(["name", "weight", "id", "extra", "items"])] = value(r)
    return result


def conversation(r):
    """The variables of a rendering."""
    messages = []
    if r.random() < 0.5:
        messages.append(message(r, r.choice(["system", "system", "system", "developer"])))
    if r.random() < 0.7:  # turns in their order, with calls and results
        for _ in range(r.choice([1, 1, 2, 3, 6])):
            messages.append(message(r, "user"))
            if r.random() < 0.2:
                for _ in range(r.choice([1, 2])):
                    messages.append({"role": "assistant", "content": r.choice(["", None, text(r)]), "tool_calls": [tool_call(r) for _ in range(r.choice([1, 2]))]})
                    messages += [message(r, "tool") for _ in range(r.choice([1, 2]))]
            if r.random() < 0.9:
                messages.append(message(r, "assistant"))
    else:
        messages += [
            message(r, r.choice(["user", "assistant", "system", "tool", "critic", "User", "ipython", "model"]))
            for _ in range(r.randrange(6))
        ]
    variables = {"messages": messages, "tools": None, "documents": None, "add_generation_prompt": r.random() < 0.5}
    if r.random() < 0.35:
        variables["tools"] = [tool(r) for _ in range(r.randrange(4))]
    if r.random() < 0.8:
        variables.update(bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    for name, values in {
        "enable_thinking": [True, False, None], "preserve_thinking": [True, False], "thinking": [True, False], "date_string": ["26 Jul 2024"],
        "keep_past_thinking": [True, False], "tools_in_user_message": [True, False], "reasoning_effort": ["low", "high"],
        "model_identity": ["You are X."], "builtin_tools": [["browser", "python"], ["code_interpreter"]], "add_vision_id": [True, False],
        "custom_tools": [None], "preserve_reasoning": [True], "truncate_history_thinking": [True, False],
    }.items():
        if r.random() < 0.15:
            variables[name] = r.choice(values)
    return variables
