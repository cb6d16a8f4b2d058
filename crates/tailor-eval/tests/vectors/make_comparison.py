"""Makes comparison.json: what SciPy and statsmodels say about paired models.

    python -m venv venv && venv/bin/pip install scipy==1.17.* statsmodels==0.15.* && venv/bin/python make_comparison.py
"""

import json
import pathlib

import numpy as np
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

HERE = pathlib.Path(__file__).parent


def mcnemar_cases():
    for b, c in [(0, 0), (1, 0), (5, 5), (12, 3), (3, 12), (40, 61), (431, 201), (700, 640), (1500, 900), (30000, 29500)]:
        p = float(mcnemar([[0, b], [c, 0]], exact=True).pvalue)
        if b + c:
            assert np.isclose(p, stats.binomtest(b, b + c).pvalue, rtol=1e-9, atol=0)
        yield {"b": b, "c": c, "p": p}


def t_cases(rng):
    for a, b in [
        ([0.9072, 0.9041, 0.9103], [0.8875, 0.8902, 0.8848]),
        ([0.9199, 0.9177, 0.9221], [0.9201, 0.9184, 0.9195, 0.9163]),
        ([0.5, 0.75], [0.5, 0.25, 0.375]),
        (rng.normal(0, 1, 40).tolist(), rng.normal(0.1, 5, 9).tolist()),
    ]:
        test = stats.ttest_ind(a, b, equal_var=False)
        yield {"first": a, "second": b, "t": test.statistic, "degrees": test.df, "p": test.pvalue}


def paired_cases(rng):
    for n, shift in [(2, 0.5), (7, 0.3), (200, 0.1), (10000, 0.02), (10000, 0.06)]:
        # Thirds, as the difference of two means of three right or wrong answers.
        d = np.clip(np.round(rng.normal(shift, 0.3, n) * 3), -3, 3)
        test = stats.ttest_1samp(d / 3, 0)
        counts = {int(v): int((d == v).sum()) for v in np.unique(d)}
        yield {"thirds": counts, "t": test.statistic, "p": test.pvalue}


def bootstrap_case(rng):
    first, second = rng.random(1000) < 0.9, rng.random(1000) < 0.87
    difference = first.astype(float) - second
    small = stats.bootstrap(
        (difference[:40],), np.mean, n_resamples=499, method="percentile", random_state=np.random.default_rng(1)
    )
    # Two runs of SciPy's own with other seeds differ by less than 0.0005 at each end.
    large = stats.bootstrap(
        (difference,), np.mean, n_resamples=200_000, batch=1000, method="percentile", random_state=np.random.default_rng(2)
    )
    return {
        "distribution": small.bootstrap_distribution.tolist(),
        "of_distribution": list(small.confidence_interval),
        "first": first.astype(int).tolist(),
        "second": second.astype(int).tolist(),
        "of_difference": list(large.confidence_interval),
    }


def holm_cases(rng):
    for p in [[0.01, 0.04, 0.03], [0.2, 0.2, 0.001, 0.9], rng.random(15).tolist(), (rng.random(28) ** 6).tolist()]:
        yield {"p": p, "adjusted": multipletests(p, method="holm")[1].tolist()}


def main():
    rng = np.random.default_rng(1947)
    vectors = {
        "mcnemar": list(mcnemar_cases()),
        "welch": list(t_cases(rng)),
        "paired": list(paired_cases(rng)),
        "bootstrap": bootstrap_case(rng),
        "holm": list(holm_cases(rng)),
    }
    (HERE / "comparison.json").write_text(json.dumps(vectors) + "\n")


if __name__ == "__main__":
    main()
