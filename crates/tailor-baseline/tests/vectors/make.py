#!/usr/bin/env python3
"""Makes scikit-learn.json: a small data set, and what scikit-learn and scikit-image say about it.

    pip install scikit-learn scikit-image && python make.py

Numbers are multiples of 1/64, so that they are the same in single precision. Where equally good questions would leave
the trees a choice, the script stops.
"""
import json
from pathlib import Path

import numpy as np
from skimage.feature import hog
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

rng = np.random.default_rng(20)
CLASSES, COLUMNS, TRAIN, TEST = 3, 8, 240, 60
middles = rng.normal(size=(CLASSES, COLUMNS)) * 0.9
spread = rng.normal(size=(COLUMNS, COLUMNS)) * 0.5 + np.diag(np.linspace(1.5, 0.5, COLUMNS))
labels = rng.integers(0, CLASSES, TRAIN + TEST)
points = np.round((middles[labels] + rng.normal(size=(TRAIN + TEST, COLUMNS)) @ spread) * 64) / 64
x, y, t = points[:TRAIN], labels[:TRAIN], points[TRAIN:]


def one_answer(make):
    """What a tree says, whichever way it breaks ties."""
    answers = [make(seed).fit(x, y).predict_proba(t) for seed in range(20)]
    assert all(np.allclose(answers[0], answer) for answer in answers), "there are ties"
    return answers[0]


def nested(values):
    return np.asarray(values, dtype=float).round(9).tolist()


pca = PCA(3, svd_solver="full").fit(x)
components = pca.components_ * np.sign(pca.components_[range(3), np.abs(pca.components_).argmax(1)])[:, None]
logistic = LogisticRegression(C=0.5, tol=1e-9, max_iter=10_000).fit(x, y)
linear = LinearSVC(C=0.2, tol=1e-9, max_iter=1_000_000, random_state=0).fit(x, y)
svc = SVC(C=2.0, gamma=0.2, tol=1e-8, decision_function_shape="ovo").fit(x, y)
boosting = HistGradientBoostingClassifier(
    max_iter=15, learning_rate=0.2, max_leaf_nodes=6, min_samples_leaf=8, l2_regularization=0.5, early_stopping=False
).fit(x, y)
image = np.round(127 + 60 * np.sin(np.add.outer(np.arange(20) ** 1.5 / 5, np.arange(27) / 3)) + rng.normal(size=(20, 27)) * 20)
image = image.clip(0, 255).astype(np.uint8)

vectors = {
    "classes": CLASSES,
    "train": nested(x),
    "labels": y.tolist(),
    "test": nested(t),
    "test_labels": labels[TRAIN:].tolist(),
    "pca_components": nested(components),
    "pca_test": nested((t - pca.mean_) @ components.T),
    "logistic_scores": nested(logistic.decision_function(t)),
    "linear_svm_scores": nested(linear.decision_function(t)),
    "svc_decisions": nested(svc.decision_function(t)),
    "svc_support": svc.n_support_.tolist(),
    "svc_scale": float(SVC(gamma="scale").fit(x, y)._gamma),
    "neighbors_uniform": nested(KNeighborsClassifier(7).fit(x, y).predict_proba(t)),
    "neighbors_distance": nested(KNeighborsClassifier(7, weights="distance").fit(x, y).predict_proba(t)),
    "tree_gini": nested(one_answer(lambda seed: DecisionTreeClassifier(
        max_depth=3, min_samples_leaf=12, random_state=seed))),
    "tree_entropy": nested(one_answer(lambda seed: DecisionTreeClassifier(
        criterion="entropy", max_depth=3, min_samples_leaf=12, random_state=seed))),
    # On training points: between two of them a question may stand anywhere, and rounding decides where.
    "boosting_probabilities": nested(boosting.predict_proba(x[:TEST])),
    "forest_accuracy": float(np.mean([
        RandomForestClassifier(100, random_state=seed).fit(x, y).score(t, labels[TRAIN:]) for seed in range(5)])),
    "image": image.tolist(),
    "hog": nested(hog(image / 255, orientations=9, pixels_per_cell=(4, 4), cells_per_block=(2, 2), block_norm="L2-Hys")),
}
text = json.dumps(vectors, separators=(",", ":")).replace('],"', '],\n"')
Path(__file__).with_name("scikit-learn.json").write_text(text + "\n")
