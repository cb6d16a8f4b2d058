#!/usr/bin/env python3
"""Makes the table of results from what run.sh kept.

    python results/table.py
"""
import csv
import json
import statistics
from pathlib import Path

# What the authors of each system published (they chose settings while looking at the test part).
REPORTED = {"ann-256-128": "87", "cnn-32-64": "92", "cnn-32-64-64": "90.21", "cnn-bn-32-64-128": "89.29", "cnn-64-64-128-128": "92.74"}

print("| recipe | reported, % | test accuracy, % | loss | macro F1 | seeds | epochs | training |")
print("|---|--:|--:|--:|--:|--:|--:|--:|")
for recipe in sorted({run.parent.parent for run in Path(__file__).parent.glob("*/seed-*/evaluation.json")}):
    runs = sorted(run for run in recipe.iterdir() if (run / "evaluation.json").exists())
    figures = [json.loads((run / "evaluation.json").read_text()) for run in runs]
    epochs = [list(csv.DictReader((run / "metrics.csv").open())) for run in runs]

    def spread(values, digits, scale=1.0):
        values = [scale * value for value in values]
        deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.{digits}f}{deviation}"

    seconds = statistics.median(sum(float(epoch["seconds"]) for epoch in run) for run in epochs)
    print(f"| `{recipe.name}` | {REPORTED.get(recipe.name, '–')} | {spread([f['accuracy'] for f in figures], 2, 100)} "
          f"| {spread([f['loss'] for f in figures], 3)} | {statistics.mean(f['macro_average']['f1'] for f in figures):.3f} "
          f"| {len(runs)} | {len(epochs[0])} | {seconds:.0f} s |")
