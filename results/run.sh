#!/usr/bin/env bash
# Trains recipes over three seeds and keeps what the table is made of: the resolved recipe, the epochs, the figures
# on the test part. What is there already is kept.
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
        cp "$scratch/$recipe-$seed"/{recipe.toml,metrics.csv,evaluation.json} "$kept"
    done
done
