#!/usr/bin/env python3
"""Which method of `tailor explain` finds the pixels that a model decides by: the warmest fifth of each image is covered, and
the fall of the class's probability is averaged (the deletion test of Petsiuk et al. 2018, at one point). Training images are
used, since the default method is chosen by it.

    pip install numpy pillow
    scripts/explanations.py target/release/tailor runs/starter-001
"""
import gzip
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

IMAGES, FIRST, COVERED = 150, 5000, 28 * 28 // 5
DATA = Path(__file__).parent.parent / "data/fashion-mnist/train-images-idx3-ubyte.gz"
program, model = sys.argv[1:]


def lines(*arguments):
    output = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in output.splitlines()]


def write(images, folder):
    folder.mkdir()
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:04}.png")


def probabilities(folder):
    return [{entry["class"]: entry["probability"] for entry in line["predictions"]}
            for line in lines("predict", model, folder, "--top", 10, "--format", "json")]


with tempfile.TemporaryDirectory() as scratch:
    scratch, random = Path(scratch), np.random.default_rng(0)
    images = np.frombuffer(gzip.open(DATA).read(), np.uint8, offset=16).reshape(-1, 28, 28)[FIRST:FIRST + IMAGES]
    write(images, scratch / "images")
    before = probabilities(scratch / "images")
    classes = [max(row, key=row.get) for row in before]

    def report(name, heats):
        covered = images.copy()
        for image, heat in zip(covered, heats):
            heat = np.asarray(Image.fromarray(heat.astype(np.float32)).resize((28, 28), Image.BILINEAR))
            heat = heat + 1e-9 * random.random(heat.shape)  # places without heat in any order
            image[heat >= np.sort(heat.ravel())[-COVERED]] = 0
        write(covered, scratch / name)
        falls = [b[c] - a[c] for b, a, c in zip(before, probabilities(scratch / name), classes)]
        empty = np.mean([heat.max() <= 0 for heat in heats])
        print(f"{name:22} probability falls by {np.mean(falls):.2f}, {100 * empty:3.0f} % of the maps are empty", flush=True)

    for method in ["grad-cam", "grad-cam++", "integrated-gradients", "occlusion"]:
        explained = lines("explain", model, scratch / "images", "--method", method, "--limit", IMAGES, "--json", "--quiet",
                          "--output", scratch / "out")
        report(method, [np.array(line["heat"]) for line in explained])
    report("random places", [random.random((7, 7)) for _ in images])
    report("bright pixels", [image.astype(float) for image in images])
