#!/usr/bin/env python3
"""Makes the table of baselines from what baselines.sh kept.

    python results/baselines.py
"""
import csv
import json
from pathlib import Path

# Published for each kind of classifier (zalandoresearch/fashion-mnist), chosen while looking at the test part.
REPORTED = {"hog-svm": "92.6", "rbf-svm": "89.7", "gradient-boosting": "88.0", "random-forest": "87.3–88.7",
            "knn": "85.4–86.1", "logistic-regression": "84.2", "decision-tree": "79.8"}

rows = []
for run in sorted((Path(__file__).parent / "baselines").iterdir()):
    evaluation = json.loads((run / "evaluation.json").read_text())
    timing, size = (json.loads((run / name).read_text()) for name in ("timing.json", "size.json"))
    (fit,) = csv.DictReader((run / "metrics.csv").open())
    rows.append((evaluation["accuracy"], run.name, evaluation, timing, size, fit))

print("| baseline | reported, % | test accuracy, % | loss | macro F1 | fit | 10,000 predictions | model file |")
print("|---|--:|--:|--:|--:|--:|--:|--:|")
for accuracy, name, evaluation, timing, size, fit in sorted(rows, reverse=True):
    print(f"| `{name}` | {REPORTED.get(name, '–')} | {100 * accuracy:.2f} | {evaluation['loss']:.3f} "
          f"| {evaluation['macro_average']['f1']:.3f} | {float(fit['seconds']):.0f} s "
          f"| {timing['seconds']:.1f} s | {size['bytes'] / 1e6:.1f} MB |")
