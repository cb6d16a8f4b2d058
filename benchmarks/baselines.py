#!/usr/bin/env python3
"""Compares tailor's baselines with scikit-learn's: the same settings, the same images, one after the other.

    cargo build --release -p tailor-baseline --example fit
    pip install scikit-learn scikit-image
    python benchmarks/baselines.py [--images 55000] [NAME ...] > benchmarks/baselines.md

Both learn from the first N training images of Fashion-MNIST and are judged on the last 5,000, as normalized pixels.
Times are processor seconds of all threads, which other work on the machine disturbs less than the clock; "×" is
scikit-learn's over ours.
"""
import argparse
import gzip
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from skimage.feature import hog
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

HERE = Path(__file__).parent
FIT = Path(os.environ.get("FIT", HERE.parent / "target/release/examples/fit"))
JUDGED = 5000
PIXELS, HOG = [{"type": "pixels"}], [{"type": "hog", "interpolate": False}]

# Name: features, components, classifier, and the same in scikit-learn. HOG without interpolation, as scikit-image's.
BASELINES = {
    "logistic-regression": (PIXELS, 0, {"type": "logistic-regression", "c": 0.01, "steps": 200},
                            lambda: LogisticRegression(C=0.01, max_iter=200)),
    "linear-svm": (PIXELS, 0, {"type": "linear-svm", "c": 0.001, "tolerance": 0.1},
                   lambda: LinearSVC(C=0.001, tol=0.1, dual=True)),
    "decision-tree": (PIXELS, 0, {"type": "decision-tree", "criterion": "entropy", "max-depth": 12, "min-leaf": 10},
                      lambda: DecisionTreeClassifier(criterion="entropy", max_depth=12, min_samples_leaf=10)),
    "random-forest": (PIXELS, 0, {"type": "random-forest", "trees": 100},
                      lambda: RandomForestClassifier(100, n_jobs=-1)),
    "knn": (PIXELS, 0, {"type": "nearest-neighbors", "k": 5, "weights": "distance"},
            lambda: KNeighborsClassifier(5, weights="distance", algorithm="brute")),
    "gradient-boosting": (PIXELS, 0, {"type": "gradient-boosting", "rounds": 30, "bins": 64},
                          lambda: HistGradientBoostingClassifier(max_iter=30, max_bins=64, early_stopping=False)),
    "pca-rbf-svm": (PIXELS, 100, {"type": "rbf-svm", "c": 10},
                    lambda: make_pipeline(PCA(100, svd_solver="covariance_eigh"), SVC(C=10, cache_size=1000))),
    "rbf-svm": (PIXELS, 0, {"type": "rbf-svm", "c": 10}, lambda: SVC(C=10, cache_size=1000)),
    "hog-svm": (HOG, 0, {"type": "rbf-svm", "c": 10}, lambda: SVC(C=10, cache_size=1000)),
}


def data(images):
    def idx(name, header):
        with gzip.open(HERE.parent / "data/fashion-mnist" / name) as file:
            return np.frombuffer(file.read()[header:], dtype=np.uint8)

    pixels = idx("train-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)
    labels = idx("train-labels-idx1-ubyte.gz", 8)
    return (pixels[:min(images, len(pixels) - JUDGED)], labels[:min(images, len(pixels) - JUDGED)],
            pixels[-JUDGED:], labels[-JUDGED:])


def theirs(features, make, parts):
    train, labels, judged, judged_labels = parts
    mean, deviation = (train / 255).mean(), (train / 255).std()

    def numbers(images):
        if features is HOG:
            return np.array([hog(image / 255, 9, (4, 4), (2, 2), "L2-Hys") for image in images], dtype=np.float32)
        return ((images / 255 - mean) / deviation).reshape(len(images), -1).astype(np.float32)

    def clocks():
        times = os.times()
        # joblib's workers are threads here, and children elsewhere.
        return np.array([time.perf_counter(), times.user + times.system + times.children_user + times.children_system])

    start = clocks()
    classifier = make().fit(numbers(train), labels)
    fit = clocks() - start
    start = clocks()
    answers = classifier.predict(numbers(judged))
    return {"accuracy": float((answers == judged_labels).mean()), "fit": fit.tolist(), "predict": (clocks() - start).tolist()}


def ours(images, features, components, classifier):
    arguments = [FIT, str(images), json.dumps(features), str(components), json.dumps(classifier)]
    return json.loads(subprocess.run(arguments, cwd=HERE.parent, check=True, capture_output=True, text=True).stdout)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=55_000)
    parser.add_argument("names", nargs="*", default=list(BASELINES))
    arguments = parser.parse_args()
    parts = data(arguments.images)
    print(f"{len(parts[0]):,} training images, {JUDGED:,} judged.\n")
    print("| baseline | accuracy, % | scikit-learn | fit, s | scikit-learn | × | predict, s | scikit-learn | × |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for name in arguments.names:
        features, components, classifier, make = BASELINES[name]
        a = ours(arguments.images, features, components, classifier)
        b = theirs(features, make, parts)
        print(name, a, b, file=sys.stderr, flush=True)
        times = [f"{a[step][1]:.1f} | {b[step][1]:.1f} | {b[step][1] / max(a[step][1], 0.01):.1f}" for step in ("fit", "predict")]
        print(f"| `{name}` | {100 * a['accuracy']:.2f} | {100 * b['accuracy']:.2f} | {times[0]} | {times[1]} |", flush=True)


main()
