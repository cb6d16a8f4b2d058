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
    "$tailor" baseline "$name" --run "$scratch/$name" | tee "$scratch/$name.txt"
    mkdir -p "$kept"
    cp "$scratch/$name"/{recipe.toml,metrics.csv,timing.json,evaluation.json} "$kept"
    results/pack_predictions.sh "$scratch/$name/predictions.csv" >"$kept/predictions.csv.gz"
    # Images a second of the evaluation, and the size of the model file.
    speed=$(sed -n 's/^\([0-9]*\) images\/s$/\1/p' "$scratch/$name.txt")
    bytes=$(stat -c %s "$scratch/$name/model.safetensors")
    echo "{\"images_per_second\": $speed, \"model_bytes\": $bytes}" >"$kept/cost.json"
    rm -rf "${scratch:?}/$name"
done
