#!/usr/bin/env python3
"""Makes the table of results from what run.sh kept.

    python results/table.py

Times and speeds are those of the runs themselves: validation counts as training time, and not as speed. Where an epoch took more than
half as much time again as the faster quarter of the run's epochs, the machine was given to something else meanwhile; it counts as these (but the
first, in which features may be computed).
"""
import csv
import json
import re
import statistics
from pathlib import Path

# What the authors of each system published (they chose settings while looking at the test part).
REPORTED = {"ann-256-128": "87", "cnn-32-64": "92", "cnn-32-64-64": "90.21", "cnn-32-64-128": "88.5", "cnn-bn-32-64-128": "89.29",
            "cnn-64-64-128-128": "92.74", "cnn-bn-64-128": "92.74", "cnn-bn-4": "91.97", "cnn-bn-skip": "92.54", "lenet-5": "98 (not credible)",
            "mobilenet-v2": "90.31"}


def spread(values, digits, scale=1.0):
    """mean ± deviation"""
    values = [scale * value for value in values]
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def training_seconds(epochs):
    """of all epochs, without what was waited for"""
    seconds = [float(epoch["seconds"]) for epoch in epochs]
    usual = statistics.quantiles(seconds, n=4)[0]
    return seconds[0] + sum(usual if time > 1.5 * usual else time for time in seconds[1:])


def processor(run):
    """On which it ran: of AMD's the generation; before that was noted, it was a Zen 4."""
    note = run / "processor.txt"
    if not note.exists():
        return "Zen 4"
    name = note.read_text().strip()
    number = re.fullmatch(r"AMD EPYC.*, family (\d+), model (\d+)", name)
    family, model = map(int, number.groups()) if number else (0, 0)
    return {26: "Zen 5", 25: "Zen 3" if model < 16 else "Zen 4"}.get(family, name)


print("| recipe | parameters | reported, % | test accuracy, % | loss | macro precision | recall | F1 | seeds | epochs | training | images/s | on |")
print("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|")
for recipe in sorted({run.parent.parent for run in Path(__file__).parent.glob("*/seed-*/evaluation.json")}):
    runs = sorted(run for run in recipe.iterdir() if (run / "evaluation.json").exists())
    figures = [json.loads((run / "evaluation.json").read_text()) for run in runs]
    epochs = [list(csv.DictReader((run / "metrics.csv").open())) for run in runs]
    # The summary's last line counts the parameters, the sum of all last.
    parameters = re.findall(r"[\d,]+", (recipe / "summary.txt").read_text().splitlines()[-1])[-1]
    seconds = statistics.mean(training_seconds(run) for run in epochs)
    speed = statistics.median(float(epoch["images_per_second"]) for run in epochs for epoch in run)
    macro = [f"{statistics.mean(f['macro_average'][key] for f in figures):.3f}" for key in ("precision", "recall", "f1")]
    print(f"| `{recipe.name}` | {parameters} | {REPORTED.get(recipe.name.removesuffix('-better'), '–')} | {spread([f['accuracy'] for f in figures], 2, 100)} "
          f"| {spread([f['loss'] for f in figures], 3)} | {' | '.join(macro)} "
          f"| {len(runs)} | {len(epochs[0])} | {seconds:,.0f} s | {speed:,.0f} | {', '.join(sorted({*map(processor, runs)}))} |")

if photos := sorted({run.parent.parent for run in Path(__file__).parent.glob("photos/*/seed-*/evaluation.json")}):
    print("\n| recipe | validation accuracy, % | loss | macro F1 | seeds | epochs | an epoch | in all |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|")
for recipe in photos:
    runs = sorted(path.parent for path in recipe.glob("*/evaluation.json"))
    figures = [json.loads((run / "evaluation.json").read_text()) for run in runs]
    epochs = [list(csv.DictReader((run / "metrics.csv").open())) for run in runs]
    epoch = statistics.median(float(row["seconds"]) for run in epochs for row in run)
    whole = statistics.mean(int((run / "seconds.txt").read_text()) for run in runs)
    print(f"| `{recipe.name}` | {spread([f['accuracy'] for f in figures], 2, 100)} | {spread([f['loss'] for f in figures], 3)} "
          f"| {spread([f['macro_average']['f1'] for f in figures], 3)} | {len(runs)} | {len(epochs[0])} | {epoch:.1f} s | {whole:.0f} s |")
