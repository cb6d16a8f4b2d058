#!/usr/bin/env bash
# Trains recipes over three seeds and keeps what the table and `tailor compare results` are made of: the resolved recipe,
# the epochs, the figures on the test part, how fast it was predicted, and the answers, packed. What is there
# already is kept.
#
#   cargo build --release && results/run.sh ann-256-128 cnn-32-64-64
set -euo pipefail
cd "$(dirname "$0")/.."
tailor=${TAILOR:-target/release/tailor}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for recipe in "$@"; do
    for seed in 1 2 3; do
        kept=results/$recipe/seed-$seed
        [ -e "$kept/evaluation.json" ] && continue
        "$tailor" train "$recipe" --seed "$seed" --run "$scratch/$recipe-$seed"
        mkdir -p "$kept"
        cp "$scratch/$recipe-$seed"/{recipe.toml,metrics.csv,timing.json} "$kept"
        results/pack_predictions.sh "$scratch/$recipe-$seed/predictions.csv" >"$kept/predictions.csv.gz"
        cp "$scratch/$recipe-$seed/evaluation.json" "$kept"
    done
done
