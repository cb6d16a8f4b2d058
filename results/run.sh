#!/usr/bin/env bash
# Trains recipes over three seeds and keeps what the table and `tailor compare results` are made of: the resolved recipe,
# the epochs, the figures on the test part, how fast it was predicted, and the answers (54 KB a run: the first four columns
# of predictions.csv, packed). What is there already is kept.
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
        # Class names of Fashion-MNIST hold no comma.
        awk -F, -v OFS=, 'NR == 1 {print $1, $2, $3, $4; next} {printf "%d,%s,%s,%.4f\n", $1, $2, $3, $4}' \
            "$scratch/$recipe-$seed/predictions.csv" | gzip -9n > "$kept/predictions.csv.gz"
        cp "$scratch/$recipe-$seed/evaluation.json" "$kept"
    done
done
