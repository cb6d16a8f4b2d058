#!/bin/sh
# Runs the guard-page and unit tests under valgrind: no invalid read or write, and no decision on uninitialised
# memory, in the AVX2 and the portable kernels (valgrind has no AVX-512, and the kernels see that).
#
# usage: crates/tailor-kernels/tests/valgrind.sh
set -eu
cd "$(dirname "$0")/.."

binaries=$(cargo test --release --lib --test guard --no-run --message-format=json |
    sed -n 's/.*"executable":"\([^"]*\)".*/\1/p')
for binary in $binaries; do
    echo "valgrind $(basename "$binary")"
    valgrind --quiet --error-exitcode=1 --fair-sched=yes "$binary" --test-threads=1
done
