#!/bin/sh
# Measures how fast the kept recipes train on this machine, with nothing else running: results/speed.jsonl
#
#   cargo build --release && results/speed.sh
set -eu
cd "$(dirname "$0")/.."
tailor=${TAILOR:-target/release/tailor}
for kept in results/*/summary.txt; do
    name=$(basename "$(dirname "$kept")")
    recipe=$name
    [ -e "results/ablations/$name.toml" ] && recipe=results/ablations/$name.toml
    "$tailor" benchmark "$recipe" --json --quiet
done >results/speed.jsonl.part
mv results/speed.jsonl.part results/speed.jsonl
