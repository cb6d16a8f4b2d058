#!/usr/bin/env bash
# Fits every baseline once and keeps what the table is made of. What is there already is kept.
#
#   cargo build --release && results/baselines.sh && python results/baselines.py
set -euo pipefail
cd "$(dirname "$0")/.."
tailor=${TAILOR:-target/release/tailor}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for recipe in recipes/baselines/*.toml; do
    name=$(basename "$recipe" .toml)
    kept=results/baselines/$name
    [ -e "$kept/evaluation.json" ] && continue
    "$tailor" baseline "$name" --run "$scratch/$name"
    mkdir -p "$kept"
    cp "$scratch/$name"/{recipe.toml,metrics.csv,timing.json,evaluation.json} "$kept"
    results/pack_predictions.sh "$scratch/$name/predictions.csv" >"$kept/predictions.csv.gz"
    results/size.py "$scratch/$name/model.safetensors" >"$kept/size.json"
    rm -rf "${scratch:?}/$name"
done
