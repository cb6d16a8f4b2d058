"""Makes familiarity.json: distances of random descriptions to the k-th nearest of others, all of length 1, by scikit-learn, and the
distance that 95 % of them do not exceed, by NumPy.

    pip install scikit-learn
    python make_familiarity.py
"""

import json
import pathlib

import numpy as np
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize

random = np.random.default_rng(5)
DIMENSIONS, NEIGHBORS = 6, 4

short = lambda values: np.round(values, 3).astype(np.float32)
exemplars = short(normalize(random.normal(size=(30, DIMENSIONS))))
features = short(2 * random.normal(size=(25, DIMENSIONS)))
index = NearestNeighbors(n_neighbors=NEIGHBORS, algorithm="brute").fit(normalize(exemplars.astype(np.float64)))
distances = index.kneighbors(normalize(features.astype(np.float64)))[0][:, -1]
case = {
    "dimensions": DIMENSIONS, "neighbors": NEIGHBORS, "exemplars": exemplars.ravel().tolist(), "features": features.ravel().tolist(),
    "distances": distances.tolist(), "threshold": float(np.quantile(distances, 0.95, method="inverted_cdf")),
}
pathlib.Path(__file__).with_name("familiarity.json").write_text(json.dumps(case, separators=(",", ":")) + "\n")
