#!/bin/sh
# Searches for better settings of a recipe: 40 pruned trials in the space recipes/spaces/RECIPE.toml, judged on the validation part; the winner and the
# start are then trained with three fresh seeds and tested. Keeps what the search found in results/tune/RECIPE. Going on after an
# interruption is the same command. $WORKERS processes train at once.
#
#   cargo build --release && results/tune.sh cnn-bn-32-64-128 --epochs 8 && results/tune.sh cnn-32-64-64
set -eu
recipe=$1
shift
cd "$(dirname "$0")/.."
study=runs/tune-$recipe
"${TAILOR:-target/release/tailor}" tune "$recipe" --space "recipes/spaces/$recipe.toml" --trials 40 --sampler tpe --pruner median \
    --workers "${WORKERS:-2}" --study "$study" "$@"
mkdir -p "results/tune/$recipe"
cp "$study"/best.toml "$study"/journal.jsonl "$study"/trials.csv "$study"/report.html "results/tune/$recipe"
