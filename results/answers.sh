#!/usr/bin/env bash
# Answers the reports' questions from what is kept here: for each the words and tables, and a page.
#
#   cargo build --release && results/answers.sh
set -euo pipefail
cd "$(dirname "$0")/.."
tailor=${TAILOR:-target/release/tailor}
mkdir -p results/answers

ask() {
    "$tailor" compare "${@:2}" --output "results/answers/$1.html" | grep -v '^page: ' >"results/answers/$1.txt"
}

ask cnn-or-mlp results/ann-256-128 results/cnn-32-64-64 results/cnn-32-64
ask batch-norm results/cnn-bn-32-64-128 results/without-bn
ask augmentation results/cnn-bn-32-64-128 results/without-augmentation
ask batch-norm-and-augmentation results/cnn-bn-32-64-128 results/without-bn results/without-augmentation results/without-bn-and-augmentation
ask cnn-or-transfer results/cnn-32-64-64 results/starter results/mobilenet-v2-features
ask deep-or-classical results/starter results/cnn-32-64-64 results/baselines/hog-svm \
    results/baselines/rbf-svm results/baselines/gradient-boosting results/baselines/random-forest
