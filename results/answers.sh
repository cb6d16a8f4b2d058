#!/usr/bin/env bash
# Answers the reports' questions from what is kept here: for each the words and tables, and a page.
#
#   cargo build --release && results/answers.sh
set -euo pipefail
cd "$(dirname "$0")"
tailor=${TAILOR:-../target/release/tailor}
mkdir -p answers

ask() {
    "$tailor" compare "${@:2}" --output "answers/$1.html" | grep -v '^page: ' >"answers/$1.txt"
}

ask cnn-or-mlp ann-256-128 cnn-32-64-64 cnn-32-64
ask batch-norm cnn-bn-32-64-128 without-bn
ask augmentation cnn-bn-32-64-128 without-augmentation
ask batch-norm-and-augmentation cnn-bn-32-64-128 without-bn without-augmentation without-bn-and-augmentation
ask cnn-or-transfer cnn-32-64-64 starter mobilenet-v2-features
ask deep-or-classical starter cnn-32-64-64 baselines/hog-svm baselines/rbf-svm baselines/gradient-boosting baselines/random-forest
