#!/bin/sh
# test-correction.sh PROGRAM...: a correction between two turns changes the answer, and only that one; an example in whatever language.
set -eu
log=$(mktemp)
trap 'rm -f "$log"' EXIT
printf '%s\n' '!early' '2+2等于几' '!2+2等于5。' '2+2等于几' '3+3等于几' | "$@" >"$log" || { cat "$log"; exit 1; }
for answer in "> (there is no answer to correct yet)" "> 2+2等于4。" "> 2+2等于5。" "> 3+3等于6。"; do
    grep -qxF -- "$answer" "$log" || { cat "$log"; echo "$1 does not say: $answer"; exit 1; }
done
grep -q '^> (learned in [0-9]* steps, loss' "$log" || { cat "$log"; echo "$1 does not learn"; exit 1; }
