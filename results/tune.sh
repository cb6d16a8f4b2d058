#!/bin/sh
# The reports' own experiment: batch size, optimizer, learning rate and dropout of cnn-bn-32-64-128, found by 40 pruned trials on the
# validation part; the winner and the start are then trained with three fresh seeds and tested. Going on after an
# interruption is the same command. From the root of the repository; $TAILOR is the program, $WORKERS processes train at once.
set -eu
tailor=${TAILOR:-target/release/tailor}
study=${STUDY:-results/tune-cnn-bn-32-64-128}
"$tailor" tune cnn-bn-32-64-128 --space recipes/spaces/cnn-bn-32-64-128.toml --trials "${TRIALS:-40}" --epochs "${EPOCHS:-8}" \
    --sampler tpe --pruner median --workers "${WORKERS:-2}" --study "$study" "$@"
