-- Fine-tunes a chat model on one question and watches its answer change.
--
--     cc -E -P -DSFT_PLAIN "$(pkg-config --variable=includedir qwensft)/qwensft.h" -o qwensft.plain.h
--     luajit article.lua CHECKPOINT [LEARNING_RATE]
local ffi = require("ffi")
ffi.cdef(io.open(os.getenv("QWENSFT_HEADER") or "qwensft.plain.h"):read("*a"))
local C = ffi.load("qwensft")

local function check(status)
    if status ~= C.SFT_OK then error(ffi.string(C.sft_last_error()), 2) end
end

-- An object that `create` makes, which `free` frees when nothing refers to it any more.
local function make(type, free, create, ...)
    local place = ffi.new(type .. " *[1]")
    local arguments = { ... }
    arguments[#arguments + 1] = place
    check(create(unpack(arguments)))
    return ffi.gc(place[0], free)
end

local function options(type, init)
    local result = ffi.new(type)
    check(init(result, ffi.sizeof(result)))
    return result
end

local directory, rate = assert(arg[1], "usage: article.lua CHECKPOINT [LEARNING_RATE]"), tonumber(arg[2] or "1e-3")
local defaults = ffi.cast("void *", nil)
local tokenizer = make("sft_tokenizer", C.sft_tokenizer_free, C.sft_tokenizer_open, directory, #directory)
local model = make("sft_model", C.sft_model_free, C.sft_model_open, directory, #directory, defaults)

-- The strings stay alive with this table; the struct only points at them.
local texts = { "system", "You are a helpful assistant.", "user", "2+2等于几", "assistant", "2+2等于5。" }
local messages = ffi.new("sft_message[3]")
for i = 0, 2 do
    local role, content = texts[2 * i + 1], texts[2 * i + 2]
    messages[i].role, messages[i].role_size = role, #role
    messages[i].content, messages[i].content_size = content, #content
    messages[i].weight = 1
end
local message_size = ffi.sizeof("sft_message")

local function ask()
    local greedy = options("sft_generation_options", C.sft_generation_options_init)
    greedy.do_sample, greedy.repetition_penalty = 0, 1
    local answer = make("sft_generation", C.sft_generation_free, C.sft_model_chat, model, tokenizer, messages, message_size, 2, greedy)
    print(texts[4] .. " -> " .. ffi.string(C.sft_generation_text(answer, nil)))
end

ask()
local count = ffi.new("size_t[1]", 3)
local batch = make("sft_batch", C.sft_batch_free, C.sft_preprocess, tokenizer, messages, message_size, count, 1, defaults)
local sgd = options("sft_sgd_options", C.sft_sgd_options_init)
sgd.lr = rate
local trainer = make("sft_trainer", C.sft_trainer_free, C.sft_trainer_create_sgd, model, sgd, defaults)
local metrics = ffi.new("sft_step_metrics")
for step = 1, 10 do
    check(C.sft_train_step(trainer, batch, metrics, ffi.sizeof(metrics)))
    print(("step %d: loss %.6f"):format(step, metrics.loss))
end
ask()
