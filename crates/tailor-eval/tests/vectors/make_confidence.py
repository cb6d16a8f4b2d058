"""Makes confidence.json: temperatures, conformal thresholds, detection figures, reliability diagrams, accuracies by coverage and
confident joints of small random sets, as SciPy, NumPy, scikit-learn and cleanlab see them.

    python -m venv venv && venv/bin/pip install scikit-learn==1.9.* scipy cleanlab==2.9.* && venv/bin/python make_confidence.py
"""

import json
import pathlib

import numpy as np
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp, softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import accuracy_score, roc_auc_score, roc_curve

random = np.random.default_rng(8)


def short(values):
    """As 32-bit numbers with few digits, so that the file stays small and both sides read the same."""
    return np.round(np.asarray(values), 3).astype(np.float32).astype(np.float64)


def temperature_case(images, classes, scale):
    labels = random.integers(0, classes, images)
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.5
    logits = short(scale * logits)
    loss = lambda t: -log_softmax(logits / t, axis=1)[np.arange(images), labels].mean()
    found = minimize_scalar(loss, bounds=(0.06, 19), method="bounded", options={"xatol": 1e-10})
    return {
        "logits": logits.ravel().tolist(), "labels": labels.tolist(), "temperature": float(found.x),
        "loss": float(found.fun), "energies": (-logsumexp(logits, axis=1)).tolist(),
    }


def conformal_case(images, classes, coverage):
    labels = random.integers(0, classes, images)
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1
    logits = short(logits)
    p = softmax(logits, axis=1)
    own = p[np.arange(images), labels]
    order = np.sort(p, axis=1)[:, ::-1]
    rank = (p > own[:, None]).sum(axis=1)
    aps = np.cumsum(order, axis=1)[np.arange(images), rank]
    level = np.ceil((images + 1) * coverage) / images
    quantile = lambda scores: float(np.quantile(scores, level, method="inverted_cdf"))
    return {
        "logits": logits.ravel().tolist(), "labels": labels.tolist(), "coverage": coverage,
        "lac": quantile(1 - own), "aps": quantile(aps),
    }


def detection_case(known, strangers, decimals):
    known, strangers = np.round(random.normal(0, 1, known), decimals), np.round(random.normal(1.2, 1.3, strangers), decimals)
    scores, is_known = np.concatenate([known, strangers]), np.r_[np.ones(len(known)), np.zeros(len(strangers))]
    false, true, _ = roc_curve(is_known, -scores, drop_intermediate=False)
    return {
        "known": known.tolist(), "strangers": strangers.tolist(),
        "auroc": float(roc_auc_score(1 - is_known, scores)),
        "false_positives": float(false[np.argmax(true >= 0.95)]),
    }


def calibration_case(images, classes, scale):
    """A reliability diagram of 15 bins, and the expected calibration error of Guo et al. 2017."""
    labels = random.integers(0, classes, images)
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1.5
    logits = short(scale * logits)
    p = softmax(logits, axis=1)
    confidence, is_correct = p.max(axis=1), p.argmax(axis=1) == labels
    accuracies, confidences = calibration_curve(is_correct, confidence, n_bins=15)
    counts, _ = np.histogram(-confidence, bins=np.linspace(-1, 0, 16))  # closed above, as scikit-learn's
    counts = counts[::-1][counts[::-1] > 0]
    coverage = []
    for share in (0.2, 0.5, 0.9, 1.0):
        threshold = np.sort(confidence)[::-1][int(share * images) - 1]
        answered = confidence >= threshold
        accuracy = accuracy_score(labels[answered], p.argmax(axis=1)[answered])
        coverage.append({"confidence": float(threshold), "answered": int(answered.sum()), "accuracy": float(accuracy)})
    return {
        "logits": logits.ravel().tolist(), "labels": labels.tolist(), "counts": counts.tolist(),
        "accuracies": accuracies.tolist(), "confidences": confidences.tolist(),
        "expected_error": float((counts * abs(accuracies - confidences)).sum() / images), "coverage": coverage,
    }


def label_case(images, classes, wrong):
    """Labels of which some are wrong, any for any other."""
    def draw():
        true = random.integers(0, classes, images)
        logits = 1.2 * random.normal(size=(images, classes))
        logits[np.arange(images), true] += 3
        flipped = random.choice(images, int(wrong * images), replace=False)
        labels = true.copy()
        labels[flipped] = (labels[flipped] + random.integers(1, classes, len(flipped))) % classes
        return softmax(logits, axis=1), labels, flipped
    return labels_of(draw)


def systematic_case(images, classes, wrong):
    """A part of class 0 is labeled 1, and the model has learned that it is: it gives that part of the probability to 1."""
    def draw():
        true = random.integers(0, classes, images)
        logits = 1.2 * random.normal(size=(images, classes))
        logits[np.arange(images), true] += 4
        p = softmax(logits, axis=1)
        p[:, 1] += wrong * p[:, 0]
        p[:, 0] *= 1 - wrong
        of_class = np.flatnonzero(true == 0)
        flipped = random.choice(of_class, int(wrong * len(of_class)), replace=False)
        labels = true.copy()
        labels[flipped] = 1
        return p, labels, flipped
    return labels_of(draw)


def labels_of(draw):
    """What cleanlab says of probabilities and labels. Where several classes are confident, cleanlab takes the most probable of all
    classes, the paper the most probable of the confident ones: only sets in which both agree are used."""
    while True:
        p, labels, flipped = draw()
        classes = p.shape[1]
        p = np.round(p, 4)
        p[:, -1] = 1 - p[:, :-1].sum(axis=1)
        thresholds = np.array([p[labels == k, k].mean() for k in range(classes)])
        confident = p >= thresholds - 1e-6
        several = confident.sum(axis=1) > 1
        if confident[several, p[several].argmax(axis=1)].all() and (p >= 0).all():
            break
    joint = compute_confident_joint(labels, p, calibrate=False)
    ranked = find_label_issues(labels, p, filter_by="prune_by_noise_rate", return_indices_ranked_by="normalized_margin", n_jobs=1)
    return {
        "probabilities": p.ravel().tolist(), "labels": labels.tolist(), "joint": joint.tolist(), "ranked": ranked.tolist(),
        "flipped": sorted(flipped.tolist()),
    }


cases = {
    "temperature": [temperature_case(40, 3, 1.0), temperature_case(60, 5, 4.0), temperature_case(30, 2, 0.3)],
    "conformal": [conformal_case(39, 4, 0.9), conformal_case(60, 3, 0.8)],
    "detection": [detection_case(40, 30, 3), detection_case(60, 50, 0)],
    "labels": [label_case(80, 3, 0.1), label_case(120, 5, 0.08)],
    "calibration": [calibration_case(200, 4, 1.0), calibration_case(300, 3, 3.0)],
    "systematic": systematic_case(400, 4, 0.2),
}
pathlib.Path(__file__).with_name("confidence.json").write_text(json.dumps(cases, separators=(",", ":")) + "\n")
