#!/usr/bin/env bash
# Trains recipes over three seeds and keeps what the table and `tailor compare results` are made of: the network's summary,
# the resolved recipe, the epochs, the figures on the test part, how fast it was predicted, the model file's size, the processor, and
# the answers, packed. What is there already is kept. SEEDS="1" trains one seed only, THREADS=1 on one core, so that two such can go on at once.
#
#   cargo build --release && results/run.sh ann-256-128 cnn-32-64-64 results/ablations/*.toml
set -euo pipefail
cd "$(dirname "$0")/.."
tailor=${TAILOR:-target/release/tailor}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for recipe in "$@"; do
    for seed in ${SEEDS:-1 2 3}; do
        name=$(basename "$recipe" .toml)
        kept=results/$name/seed-$seed
        [ -e "$kept/evaluation.json" ] && continue
        "$tailor" --threads "${THREADS:-$(nproc)}" train "$recipe" --seed "$seed" --run "$scratch/$name-$seed"
        mkdir -p "$kept"
        "$tailor" summary "$recipe" >"results/$name/summary.txt"
        cp "$scratch/$name-$seed"/{recipe.toml,metrics.csv,timing.json} "$kept"
        results/pack_predictions.sh "$scratch/$name-$seed/predictions.csv" >"$kept/predictions.csv.gz"
        results/size.py "$scratch/$name-$seed/model.safetensors" >"$kept/size.json"
        benchmarks/processor.py >"$kept/processor.txt"
        cp "$scratch/$name-$seed/evaluation.json" "$kept"
    done
done
