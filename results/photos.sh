#!/usr/bin/env bash
# Trains the recipes for one's own photographs over three seeds, on a folder with train/ and validation/ in it, and keeps of each run what
# run.sh keeps and how many seconds the whole of it took, in results/photos/RECIPE/seed-N. What is there already is kept. SEEDS="1" trains
# one seed only; WEIGHTS=FILE takes ImageNet's weights from a file instead of the download.
#
#   cargo build --release && results/photos.sh ../photographs [RECIPE…]
set -euo pipefail
photographs=$(realpath "${1:?the folder of photographs}")
weights=${WEIGHTS:+$(realpath "$WEIGHTS")}
shift
[ $# -gt 0 ] || set -- mobilenet-v2-features mobilenet-v2-finetune
cd "$(dirname "$0")/.."
results=$PWD/results
tailor=$(realpath "${TAILOR:-target/release/tailor}")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Recipes and model files name what a run was trained on, by these names: they hold no path of this machine.
cd "$scratch"
ln -s "$photographs" photos
sources=(--set data.source=./photos)
if [ -n "$weights" ]; then
    ln -s "$weights" "weights.${weights##*.}"
    sources+=(--set "model.weights=./weights.${weights##*.}")
fi

for recipe in "$@"; do
    for seed in ${SEEDS:-1 2 3}; do
        kept=$results/photos/$recipe/seed-$seed
        [ -e "$kept/evaluation.json" ] && continue
        run=$recipe-$seed
        SECONDS=0
        "$tailor" train "$recipe" "${sources[@]}" --seed "$seed" --run "$run"
        mkdir -p "$kept"
        echo "$SECONDS" >"$kept/seconds.txt"
        "$tailor" summary "$run" >"$results/photos/$recipe/summary.txt"
        cp "$run"/{recipe.toml,metrics.csv,timing.json} "$kept"
        "$results/pack_predictions.sh" "$run/predictions.csv" >"$kept/predictions.csv.gz"
        "$results/size.py" "$run/model.safetensors" >"$kept/size.json"
        "$results/../benchmarks/processor.py" >"$kept/processor.txt"
        cp "$run/evaluation.json" "$kept"
    done
done
