-- header.lua PLAIN_HEADER LIBRARY CHECKPOINT: LuaJIT's ffi reads the header and calls the library.
local ffi = require("ffi")
ffi.cdef(io.open(arg[1]):read("*a"))
local C = ffi.load(arg[2])

assert(ffi.string(C.sft_status_name(C.SFT_BUSY)) == "SFT_BUSY")
assert(ffi.sizeof("sft_dtype") == 4)

local options = ffi.new("sft_run_options")
assert(C.sft_run_options_init(options, ffi.sizeof(options)) == C.SFT_OK)
assert(options.batch_size == 8 and options.schedule == C.SFT_SCHEDULE_CONSTANT)

local tokenizer = ffi.new("sft_tokenizer *[1]")
assert(C.sft_tokenizer_open("/nowhere", 8, tokenizer) == C.SFT_NOT_FOUND)
assert(ffi.string(C.sft_last_error()):find("/nowhere", 1, true))
assert(C.sft_tokenizer_open(arg[3], #arg[3], tokenizer) == C.SFT_OK)
local ids, count = ffi.new("int32_t[16]"), ffi.new("size_t[1]")
assert(C.sft_tokenizer_encode(tokenizer[0], "2+2", 3, 0, ids, 16, count) == C.SFT_OK)
assert(count[0] > 0 and count[0] <= 3)
C.sft_tokenizer_free(tokenizer[0])
print("ok")
