"""Makes corruption.json and correlation.json: what SciPy's Gaussian filter makes of a small image, and which of some images
correlate, as NumPy sees it.

Run in this folder: python3 scipy_numpy.py
"""

import json

import numpy as np
from scipy.ndimage import gaussian_filter

random = np.random.default_rng(6)
HEIGHT, WIDTH = 20, 24

image = np.kron(random.integers(0, 256, (5, 6)), np.ones((4, 4), dtype=int))
blurred = []
for part in [0.02, 0.035, 0.05, 0.075, 0.10]:
    deviation = part * HEIGHT
    radius = int(np.ceil(3 * deviation))
    out = gaussian_filter(image.astype(float), deviation, mode="nearest", radius=radius)
    blurred.append(np.floor(out + 0.5).astype(int).ravel().tolist())
with open("corruption.json", "w") as file:
    json.dump({"height": HEIGHT, "width": WIDTH, "image": image.ravel().tolist(), "blurred": blurred}, file, separators=(",", ":"))
    file.write("\n")

base = random.integers(0, 200, 80)
images = [np.clip(base + random.integers(0, spread, 80), 0, 255) for spread in (2, 20, 40, 60, 80, 90, 99, 120, 200, 200)]
images += [np.clip(random.integers(0, 256, 80), 0, 255) for _ in range(6)]
matrix = np.corrcoef(images)
pairs = [[a, b, matrix[a, b]] for a in range(len(images)) for b in range(a + 1, len(images)) if matrix[a, b] >= 0.8]
with open("correlation.json", "w") as file:
    json.dump({"height": 8, "width": 10, "images": np.concatenate(images).tolist(), "least": 0.8, "pairs": pairs}, file, separators=(",", ":"))
    file.write("\n")
