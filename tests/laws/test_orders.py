"""The order of tasks, labels and batches does not matter."""

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences


@pytest.mark.slow
def test_order_of_tasks_orders_the_mask():
    # The order decides which random numbers a head starts from: fits of two orders agree where
    # the data decide, up to the order of the latents.
    rng = np.random.default_rng(0)
    weights = np.zeros((12, 4))
    for row, used in zip(weights, list(combinations(range(4), 2)) * 2, strict=True):
        row[list(used)] = rng.uniform(0.5, 1.5, 2) * rng.choice([-1, 1], 2)
    X = rng.normal(size=(500, 4))
    y = X @ weights.T + 0.05 * rng.normal(size=(500, 12))
    order = rng.permutation(12)
    encoder = SparseSpecialistEncoder(
        4, heads="linear", hidden_layer_sizes=(16,), input_noise=0.0, max_epochs=60, random_state=0
    )
    one, other = (encoder.fit(X, tasks).mask_ > 0 for tasks in (y, y[:, order]))
    assert_array_equal(columns_of(other), columns_of(one[order]))
    assert_array_equal(columns_of(one), columns_of(weights != 0))


def columns_of(mask):
    """Return the columns that are used, in an order of their own."""
    return np.array(sorted(map(tuple, mask[:, mask.any(axis=0)].T)))


@pytest.mark.parametrize("labels", [["no", "yes"], [0, 1], [7, -3]], ids=str)
def test_labels_in_sorted_order_through_cross_validation(labels):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 4, 2))
    codes = (X[:, 1, 0] + 0.3 * rng.normal(size=120) > 0).astype(int)
    order = np.argsort(codes, kind="stable")
    X, codes = X[order], codes[order]
    pipeline = SpecialistPipeline(
        estimator=LogisticRegression(), strategy="generalist", random_state=0
    )
    folds = StratifiedKFold(3)
    scores = cross_val_score(pipeline, X, np.array(labels)[codes], cv=folds, error_score="raise")
    expected = cross_val_score(
        LogisticRegression(), X.reshape(120, -1), codes, cv=folds, error_score="raise"
    )
    assert_allclose(scores, expected)
    assert scores.min() > 0.7


@pytest.mark.parametrize(
    ("criterion", "conditioning"), [("direct", "all"), ("direct", "band"), ("collider", "band")]
)
def test_order_of_batches_does_not_matter(criterion, conditioning):
    data = make_collider_sequences(600, n_timesteps=8, n_tasks=2, random_state=0)
    batches = np.array_split(np.arange(600), [40, 300, 310])
    fits = []
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        identifier = TaskStructureIdentifier(2, criterion=criterion, conditioning=conditioning)
        for place in order:
            rows = batches[place]
            identifier.partial_fit(data.X[rows], data.y[rows])
        fits.append(identifier)
    one, other = fits
    # Sums in another order differ by rounding.
    assert_allclose(other.statistics_, one.statistics_, rtol=1e-8, atol=1e-12)
    assert_allclose(other.pvalues_, one.pvalues_, rtol=1e-8, atol=1e-300)
    assert_array_equal(other.structure_, one.structure_)
