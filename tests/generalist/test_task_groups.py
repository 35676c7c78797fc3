"""TaskGrouper: groups of tasks, and sources of a target."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator
from sklearn.linear_model import RidgeCV
from sklearn.metrics import adjusted_rand_score

from skspecialist import TaskGrouper
from skspecialist.exceptions import SpecialistWarning
from skspecialist.generalist import _task_groups

TRUTH = np.repeat([0, 1, 2], 5)


def draw(n_samples=250, n_steps=1, seed=0):
    """Return three families of tasks of two latents, in rotated features."""
    rng = np.random.default_rng(seed)
    latents = rng.normal(size=(n_samples, n_steps, 10))
    tasks = []
    for k, family in enumerate(TRUTH):
        signal = latents[:, k % n_steps, 2 * family : 2 * family + 2] @ rng.normal(size=2)
        signal = np.abs(signal) if k % 3 == 2 else signal
        tasks.append(signal / signal.std() + 0.4 * rng.normal(size=n_samples))
    return latents @ np.linalg.qr(rng.normal(size=(10, 10)))[0], np.transpose(tasks)


X, Y = draw()


@pytest.fixture(scope="module")
def fitted():
    return TaskGrouper().fit(X[:, 0], Y)


def test_families_and_their_number_are_found_whatever_the_order(fitted):
    assert_array_equal(fitted.labels_, TRUTH)
    order = np.random.default_rng(0).permutation(len(TRUTH))
    moved = TaskGrouper().fit(X[:, 0], Y[:, order])
    assert adjusted_rand_score(moved.labels_, fitted.labels_[order]) == 1
    assert_allclose(moved.affinity_, fitted.affinity_[np.ix_(order, order)], atol=1e-8)


def test_tasks_of_several_steps_labels_and_missing_values():
    sequences, y = draw(300, n_steps=3)
    table = pd.DataFrame(y, columns=[f"t{k}" for k in range(15)])
    table["t0"] = np.where(y[:, 0] > 0, "yes", "no")
    table.loc[::6, "t1"] = np.nan
    table["noise"] = np.random.default_rng(1).normal(size=300)
    with pytest.warns(SpecialistWarning, match=r"\['noise'\] are not predicted"):
        found = TaskGrouper().fit(sequences, table)
    assert_array_equal(found.labels_, [*TRUTH, -1])
    with pytest.warns(SpecialistWarning, match="are not predicted"):
        assert TaskGrouper().fit(X[:, 0], table["noise"][:250]).n_groups_ == 0


def test_a_target_gains_from_its_family_and_loses_from_others(fitted):
    target = Y[:, 6] + Y[:, 7]
    found = fitted.select_sources(X[:30, 0], target[:30])
    assert found.sources == [f"task{k}" for k in range(5, 10)]
    assert len(found.harmful) == 10
    assert found.report.count("negative transfer") == 2
    assert found.weights[TRUTH == 1].sum() > found.weights[TRUTH != 1].sum()
    with pytest.warns(SpecialistWarning, match="No group of tasks helps"):
        fitted.select_sources(X[:30, 0], np.random.default_rng(2).normal(size=30))


class Masked(BaseEstimator):
    """An estimator with the mask of two groups of tasks."""

    def fit(self, X, y):
        self.mask_ = np.eye(3)[(np.arange(y.shape[1]) > 7).astype(int)]
        return self


def test_groups_of_a_mask_and_a_given_number(fitted):
    found = TaskGrouper(affinity=Masked()).fit(X[:, 0], Y)
    assert_array_equal(found.labels_, np.arange(15) > 7)
    with pytest.raises(ValueError, match="n_groups=20"):
        TaskGrouper(20).fit(X[:, 0], Y)


def test_gradients_are_those_of_the_fitted_function():
    x, y = X[:40], Y[:40, 2:3] - Y[:40, 2:3].mean()
    fits = _task_groups._fit_kernels(x, y)[1]
    width, coefficients = fits[0]

    # Finite differences of sum_i c_i k(x, x_i), which is the fit but for a constant.
    def function(points):
        squares = ((points[:, None] - x[:, 0]) ** 2).sum(axis=2)
        kernel = np.exp(-width / 10 * squares) if width else points @ x[:, 0].T
        return (kernel - kernel.mean(axis=1, keepdims=True)) @ coefficients

    steps = 1e-5 * np.eye(10)
    gradients = np.stack([(function(x[:, 0] + s) - function(x[:, 0] - s)) / 2e-5 for s in steps], 1)
    assert_allclose(
        _task_groups._outer_products(x, fits)[0], gradients.T @ gradients / 40, rtol=1e-4, atol=1e-8
    )


def test_leave_one_out_errors_are_those_of_scikit_learn(monkeypatch):
    x, y = X[:40], Y[:40] - Y[:40].mean(axis=0)
    monkeypatch.setattr(_task_groups, "WIDTHS", (0.0,))
    monkeypatch.setattr(_task_groups, "PENALTIES", np.array([0.5]))
    centered = x[:, 0] - x[:, 0].mean(axis=0)
    alpha = 0.5 * (centered**2).sum() / 40  # relative to the mean eigenvalue
    reference = RidgeCV([alpha], store_cv_results=True).fit(x[:, 0], y)
    assert_allclose(_task_groups._fit_kernels(x, y)[0], reference.cv_results_[:, :, 0])
