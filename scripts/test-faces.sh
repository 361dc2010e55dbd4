#!/bin/sh
# test-faces.sh [CHECKPOINT [RATE]]: does the README's experiment in C, Python and Swift and with the tool (demo, train), and
# lays their losses side by side. They have to be the same: it is one library. `make test-faces` builds what this runs.
set -eu
cd "$(dirname "$0")/.."
model=${1:-Examples/tiny-qwen2}
rate=${2:-1e-2}
out=build/test-faces
python=${PYTHON:-.venv/bin/python}
rm -rf "$out"
mkdir -p "$out"

# The library, and not another one that is installed.
LD_LIBRARY_PATH=build/lib build/test-c/article-c11 "$model" "$out/c" "$rate" >"$out/c.log"
QWENSFT_LIBRARY=build/lib/libqwensft.so PYTHONPATH=bindings/python/src "$python" Examples/python/article.py "$model" "$out/python" "$rate" >"$out/python.log"
.build/example/release/article "$model" "$out/swift" "$rate" >"$out/swift.log"
.build/tool/release/qwen-sft demo "$model" -o "$out/demo" --lr "$rate" >"$out/demo.log" 2>&1
conversation='{"messages": [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "2+2等于几"}, {"role": "assistant", "content": "2+2等于5。"}]}'
printf '%s\n%s\n' "$conversation" "$conversation" >"$out/data.jsonl"
.build/tool/release/qwen-sft train "$model" "$out/data.jsonl" -o "$out/train" --optimizer sgd --lr "$rate" --max-grad-norm 0 \
    --epochs 10 --batch-size 2 --log-every 1 >"$out/train.log" 2>&1

faces="c python swift demo train"
echo 1 2 3 4 5 6 7 8 9 10 | tr ' ' '\n' >"$out/table"
for face in $faces; do
    # "step 3: loss 0.1", "step 3 of 10: loss 0.1", "step 3/10  loss 0.1", "step 3/10  epoch 3/10  loss 0.1"
    sed -n 's/^step [0-9].*loss \([0-9.e-]*\).*/\1/p' "$out/$face.log" | awk '{ printf "%.6f\n", $1 }' >"$out/$face.losses"
    paste "$out/table" "$out/$face.losses" >"$out/table.new"
    mv "$out/table.new" "$out/table"
done
{ echo "step $faces" | tr ' ' '\t'; cat "$out/table"; } | expand -t 6,18,30,42,54
awk -F '\t' 'NF != 6 { wrong = 1 } { for (i = 3; i <= NF; i++) if ($i != $2) wrong = 1 } END { exit wrong || NR != 10 }' "$out/table" ||
    { echo "the losses are not the same"; exit 1; }

# The same answers, and the same weights.
for face in python swift demo train c; do
    cmp "$out/c/model.safetensors" "$out/$face/model.safetensors"
    rm -f "$out/$face/model.safetensors" # a gigabyte each, for an ordinary checkpoint
done
for face in $faces; do [ -f "$out/$face/tokenizer.json" ] || { echo "$face saved no tokenizer"; exit 1; }; done
