"""Makes the test vectors of this folder: predictions and what scikit-learn says about them.

    python -m venv venv && venv/bin/pip install scikit-learn==1.9.* && venv/bin/python make.py

Each set is a pair of files: NAME.csv as the crate writes it, and NAME.json with scikit-learn's figures.
"""

import csv
import json
import pathlib

import numpy as np
from sklearn.metrics import classification_report, confusion_matrix, log_loss, top_k_accuracy_score

HERE = pathlib.Path(__file__).parent
FASHION = ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"]


def write(name, class_names, labels, probabilities):
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    predicted = probabilities.argmax(axis=1)  # the lowest index among equals
    with open(HERE / f"{name}.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["index", "label", "predicted", "confidence", *(f"p({c})" for c in class_names)])
        for i, row in enumerate(probabilities.tolist()):
            writer.writerow([i, class_names[labels[i]], class_names[predicted[i]], repr(max(row)), *map(repr, row)])

    classes = range(len(class_names))
    report = classification_report(
        labels, predicted, labels=classes, target_names=class_names, output_dict=True, zero_division=0
    )
    # top_k_accuracy_score prefers the highest index among equals and we the lowest, as argmax does: hence the mirror.
    mirrored = (len(class_names) - 1 - labels, probabilities[:, ::-1])
    expected = {
        "accuracy": float((labels == predicted).mean()),
        "classes": [report[c] for c in class_names],
        "macro": report["macro avg"],
        "weighted": report["weighted avg"],
        "confusion": confusion_matrix(labels, predicted, labels=classes).tolist(),
        "log_loss": log_loss(labels, probabilities, labels=classes),
        "top_k": [
            top_k_accuracy_score(*mirrored, k=k, labels=classes) for k in range(1, min(5, len(class_names) - 1) + 1)
        ]
        if len(class_names) > 2  # scikit-learn takes two classes for another task
        else [float((labels == predicted).mean())],
    }
    (HERE / f"{name}.json").write_text(json.dumps(expected, indent=1) + "\n")


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def main():
    rng = np.random.default_rng(20170825)

    labels = rng.integers(10, size=500)
    logits = rng.normal(size=(500, 10)) + 2.5 * np.eye(10)[labels]
    write("ten-classes", FASHION, labels, softmax(logits))

    # "never" is never predicted, "unseen" has no image.
    labels = rng.integers(2, size=40)
    probabilities = softmax(rng.normal(size=(40, 3)))
    probabilities[:, 0] = 0.0  # mass to the others, so that argmax is never 0
    write("undefined", ["never", "seen", "unseen"], labels, probabilities / probabilities.sum(axis=1, keepdims=True))

    # Sixteenths tie often and are exact.
    write("ties", ["a", "b", "c", "d"], rng.integers(4, size=80), rng.multinomial(16, [0.25] * 4, size=80) / 16)

    # Certain and right, certain and wrong, and as near to certain as doubles go.
    tiny = 5e-324
    rows = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, tiny, 0], [1 - 2**-53, 2**-53, 0], [1e-17, 1, 1e-300]]
    write("extremes", ["x", "y", "z"], [0, 0, 2, 1, 1, 0], rows)

    write("two-classes", ["no", "yes"], [0, 1, 1, 0, 1], [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.3, 0.7], [0.0, 1.0]])


if __name__ == "__main__":
    main()
