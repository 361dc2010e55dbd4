#!/bin/sh
# test-files.sh [KILLS [FAULTS]]: what becomes of files when saving goes wrong. KILLS processes are killed while they save, in
# each of five scenarios, and while they train, in each of three (4), and FAULTS system calls fail in each of eleven (60; 0: every one, with every error).
set -eu
cd "$(dirname "$0")/.."
out=build/test-files
mkdir -p "$out"
export PYTHONPATH=bindings/python/src QWENSFT_LIBRARY="$PWD/build/lib/libqwensft.so"
python=${PYTHON:-.venv/bin/python}
${CC:-cc} -shared -fPIC -O1 -Wall -Wextra -Werror -o "$out/inject.so" Tests/Files/inject.c -ldl
"$python" Tests/Files/kills.py "${1:-4}"
"$python" Tests/Files/resumes.py "${1:-4}"
# Mounting takes a name space of one's own, which not every container grants.
if unshare --user --map-root-user --mount true 2>/dev/null; then
    unshare --user --map-root-user --mount "$python" Tests/Files/mounts.py
else
    echo "mounts.py cannot run here: no user name space" >&2
fi
LD_PRELOAD="$PWD/$out/inject.so" "$python" Tests/Files/faults.py "$PWD/$out/inject.so" "${2:-60}"
