"""Invalid input of the metrics of latents."""

import numpy as np
import pytest

from skspecialist.metrics import consistency, dci, infomec, mean_correlation_coefficient

LATENTS = np.random.RandomState(0).standard_normal((20, 3))


def replaced(value, column):
    latents = LATENTS.copy()
    latents[:, column] = value
    return latents


@pytest.mark.parametrize(
    "score", [dci, infomec, mean_correlation_coefficient, lambda a, b: consistency([a, b])]
)
@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (replaced(np.nan, 0), "NaN"),
        (replaced(np.inf, 0), "infinity"),
        (replaced(1.0, 2), r"constant columns, \[2\]"),
        (LATENTS[:19], "inconsistent numbers of samples"),
        (LATENTS[:3], "3 latents and only 3 samples"),
        (LATENTS[:, 0], "Expected 2D array"),
    ],
)
def test_bad_latents_are_refused(score, latents, message):
    with pytest.raises(ValueError, match=message):
        score(LATENTS, latents)
