#!/bin/sh
# test-wheel.sh WHEEL [ROOT]: installs the wheel into an empty venv and runs the package's tests with it, from outside the source tree's
# package. With ROOT, a directory for debootstrap (as root), the same in a minimal Debian that has neither Swift nor OpenBLAS.
set -eu
cd "$(dirname "$0")/.."
wheel=$(realpath "$1")
root=${2:-}

if [ -n "$root" ]; then
    [ -d "$root/usr" ] || debootstrap --variant=minbase --include=python3,python3-venv,gcc,libc6-dev bookworm "$root" >"$root.log"
    rm -rf "$root/project"
    mkdir -p "$root/project/bindings/python" "$root/project/Tests"
    cp -r README.md include Examples "$root/project/"
    cp -r Tests/Fixtures "$root/project/Tests/"
    cp -r bindings/python/tests bindings/python/requirements-test.txt bindings/python/pyproject.toml bindings/python/README.md "$root/project/bindings/python/"
    mkdir -p "$root/project/scripts" "$root/project/dist"
    cp scripts/test-wheel.sh scripts/test-correction.sh scripts/make_bindings.py "$root/project/scripts/"
    cp "$wheel" "$root/project/dist/"
    # What the wheel and its tests need comes along: nothing in there has to reach a network.
    version=$(chroot "$root" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    python3 -m pip download -q -d "$root/project/wheels" --only-binary=:all: --python-version "$version" "$wheel" \
        -r bindings/python/requirements-test.txt
    mkdir -p "$root/proc"
    mount -t proc proc "$root/proc"
    trap 'umount "$root/proc"' EXIT
    chroot "$root" /bin/sh /project/scripts/test-wheel.sh "/project/dist/$(basename "$wheel")"
    exit
fi

out=build/test-wheel
rm -rf "$out"
mkdir -p "$out"
python3 -m venv "$out/venv"
"$out/venv/bin/python" -m pip install -q $([ ! -d wheels ] || echo --no-index --find-links wheels) "$wheel" -r bindings/python/requirements-test.txt
unset PYTHONPATH QWENSFT_LIBRARY
"$out/venv/bin/python" - <<'PROGRAM'
import sys
import numpy as np
import qwensft

assert "site-packages" in qwensft.__file__, qwensft.__file__
# Beside numpy's own OpenBLAS, with computations of both in turns.
square = np.random.default_rng(0).standard_normal((256, 256))
before = square @ square
tok = qwensft.Tokenizer.from_pretrained("Examples/tiny-qwen2")
model = qwensft.Model.from_pretrained("Examples/tiny-qwen2")
assert model.chat(tok, "2+2等于几", do_sample=False, repetition_penalty=1.0) == "2+2等于4。"
assert (square @ square == before).all()
print("wheel:", qwensft.__version__, "on Python", sys.version.split()[0])
PROGRAM
# Without the source tree around it there is nothing to compare the header with, no library to link and no docs/.
without=
[ -d Sources ] || without="--ignore bindings/python/tests/test_contract.py --ignore bindings/python/tests/test_docs.py \
    --deselect tests/test_readme.py::test_program_in_c --deselect tests/test_readme.py::test_program_in_swift"
"$out/venv/bin/python" -m pytest -q -p no:cacheprovider $without bindings/python/tests
