#!/usr/bin/env python3
"""Reads the TensorBoard events of a run with TensorBoard's own reader and compares them with its metrics.csv.

    pip install tensorboard
    python scripts/read_events.py runs/starter-001
"""
import csv
import sys
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

COLUMNS = {
    "loss/train": "train_loss",
    "loss/validation": "validation_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}

run = Path(sys.argv[1])
events = EventAccumulator(str(run))
events.Reload()
rows = list(csv.DictReader((run / "metrics.csv").open()))
for tag, column in COLUMNS.items():
    scalars = events.Scalars(tag)
    assert [scalar.step for scalar in scalars] == [int(row["epoch"]) for row in rows], tag
    for scalar, row in zip(scalars, rows):
        expected = float(row[column])
        assert abs(scalar.value - expected) <= 1e-6 * abs(expected), (tag, scalar.step, scalar.value, expected)
print(f"{run}: {len(COLUMNS)} scalars of {len(rows)} epochs agree with metrics.csv")
