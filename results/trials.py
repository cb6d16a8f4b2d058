#!/usr/bin/env python3
"""Tries variants of recipes on Fashion-MNIST's training part alone, and notes what each is worth: no test image is there to be looked at.

    cargo build --release && results/trials.py results/swift/trials.txt

Each line of the list is a name, a recipe and what is set in it; what stands after # is a remark. Adds a row for each to the .tsv beside the list:
seconds of training, of the whole command, and the accuracy on the 5,000 held-out images after the last epoch, of one view and of the model's own
views. What is in the .tsv already is not tried again. $TAILOR names the program, $SEED the seed.
"""
import csv
import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
COLUMNS = ["name", "seed", "epochs", "training_seconds", "all_seconds", "validation_accuracy", "with_views", "validation_loss", "train_accuracy", "recipe", "set"]


def training_part(path):
    """Fashion-MNIST's 60,000 training images, as a CSV file."""
    folder = ROOT / "data" / "fashion-mnist"
    images = gzip.decompress((folder / "train-images-idx3-ubyte.gz").read_bytes())[16:]
    labels = gzip.decompress((folder / "train-labels-idx1-ubyte.gz").read_bytes())[8:]
    with path.open("w") as file:
        print("label", *(f"pixel{i + 1}" for i in range(784)), sep=",", file=file)
        for i, label in enumerate(labels):
            print(label, *images[784 * i : 784 * (i + 1)], sep=",", file=file)


def run(name, recipe, settings, seed, scratch):
    """A row of the table."""
    folder = scratch / f"{name}-{seed}"
    program = os.environ.get("TAILOR", ROOT / "target" / "release" / "tailor")
    command = [program, "train", ROOT / recipe, "--quiet", "--data", scratch / "train.csv", "--seed", str(seed), "--run", folder]
    start = time.time()
    subprocess.run(command + [word for setting in settings for word in ("--set", setting)], check=True, stdout=subprocess.DEVNULL)
    seconds = time.time() - start
    epochs = list(csv.DictReader((folder / "metrics.csv").open()))
    training = sum(float(epoch["seconds"]) for epoch in epochs)
    views = json.loads((folder / "evaluation.json").read_text())["accuracy"]
    last = epochs[-1]
    return [name, seed, len(epochs), f"{training:.1f}", f"{seconds:.1f}", last["validation_accuracy"], views, f"{float(last['validation_loss']):.4f}",
            f"{float(last['train_accuracy']):.4f}", recipe, " ".join(settings)]


def main():
    list_of_trials, seed = Path(sys.argv[1]), int(os.environ.get("SEED", "1"))
    table = list_of_trials.with_suffix(".tsv")
    if not table.exists():
        table.write_text("\t".join(COLUMNS) + "\n")
    done = {(row["name"], int(row["seed"])) for row in csv.DictReader(table.open(), delimiter="\t")}
    with tempfile.TemporaryDirectory() as scratch:
        training_part(Path(scratch) / "train.csv")
        for line in list_of_trials.read_text().splitlines():
            words = line.split("#")[0].split()
            if words and (words[0], seed) not in done:
                row = run(words[0], words[1], words[2:], seed, Path(scratch))
                print(*row, sep="\t", flush=True)
                with table.open("a") as file:
                    print(*row, sep="\t", file=file)


if __name__ == "__main__":
    main()
