#!/usr/bin/env bash
# Trains one epoch on the processor and on a GPU through Vulkan, Metal or DirectX, and compares the losses. Without a
# GPU, Mesa's software Vulkan does: apt-get install mesa-vulkan-drivers
#
#   scripts/gpu_agreement.sh [RECIPE…]        (default: cnn-32-64-64 cnn-bn-32-64-128; 640 images each: what they round differently has not yet grown)
set -euo pipefail
cd "$(dirname "$0")/.."
recipes=("$@")
[ ${#recipes[@]} -gt 0 ] || recipes=(cnn-32-64-64 cnn-bn-32-64-128)

cargo build --release --features wgpu
tailor=${CARGO_TARGET_DIR:-target}/release/tailor
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for recipe in "${recipes[@]}"; do
    for device in cpu wgpu; do
        "$tailor" --quiet --device $device train "$recipe" --epochs 1 --set data.limit=640 --set data.augment=[] \
            --run "$scratch/$recipe-$device" >/dev/null
    done
    paste -d, "$scratch/$recipe-cpu/metrics.csv" "$scratch/$recipe-wgpu/metrics.csv" | awk -F, -v recipe="$recipe" '
        NR == 1 { for (i = 1; i <= NF / 2; i++) { column[$i] = i }; half = NF / 2; next }
        {
            for (name in column) if (name ~ /_loss$/) {
                ours = $(column[name]); theirs = $(column[name] + half)
                difference = (ours - theirs) / ours; if (difference < 0) difference = -difference
                printf "%s: %s %.5f on the processor, %.5f on the GPU, %.3f %% apart\n", recipe, name, ours, theirs, 100 * difference
                if (difference > 0.01) bad = 1
            }
            speed = "images_per_second"
            printf "%s: %.0f images/s on the processor, %.0f on the GPU\n", recipe, $(column[speed]), $(column[speed] + half)
        }
        END { exit bad }'
done
