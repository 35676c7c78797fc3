"""FeatureGroupRanker: groups of columns by their use for tasks."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.linear_model import OrthogonalMatchingPursuit
from sklearn.model_selection import KFold
from sklearn.preprocessing import scale

from skspecialist.exceptions import SpecialistWarning
from skspecialist.generalist import FeatureGroupRanker
from skspecialist.inspection import FeatureGroupDisplay

RNG = np.random.default_rng(0)
X = RNG.normal(size=(150, 12))
# The second group carries the amount, the fourth the labels, and the third repeats the second.
X[:, 6:9] = X[:, 3:6] + RNG.normal(size=(150, 3))
AMOUNT = X[:, 3] - X[:, 4] + 0.3 * RNG.normal(size=150)
LABELS = np.where(X[:, 10] + 0.3 * RNG.normal(size=150) > 0, "yes", "no")
Y = pd.DataFrame({"amount": AMOUNT, "label": LABELS})
METHODS = ["pursuit", "shapley", "fisher", "probe"]


def ranker(method="pursuit", **options):
    options = {"max_permutations": 8, "tol": 1.0} | options if method == "shapley" else options
    return FeatureGroupRanker(4, method=method, random_state=0, **options)


@pytest.mark.parametrize("method", METHODS)
def test_the_groups_of_amounts_and_labels_are_found_where_values_are_missing(method):
    y = Y.copy()
    y.loc[::5, "amount"], y.loc[1::5, "label"] = np.nan, None
    fitted = ranker(method).fit(X, y)
    assert set(fitted.ranking_[[1, 3]]) == {1, 2}
    assert_array_equal(fitted.task_scores_.argmax(axis=1), [1, 3])
    assert fitted.get_support()[[3, 4, 5, 9, 10, 11]].all()
    assert_array_equal(fitted.transform(X), X[:, fitted.get_support()])


def test_pursuit_of_single_columns_is_orthogonal_matching_pursuit():
    y = X @ [0, 3, 0, 2, 0, 0, 0, 1, 0, 0, 0.5, 0] + 0.1 * RNG.normal(size=150)
    order = np.argsort(FeatureGroupRanker(random_state=0).fit(X, y).ranking_)
    for n in range(1, 5):
        reference = OrthogonalMatchingPursuit(n_nonzero_coefs=n).fit(scale(X), y)
        assert_array_equal(np.sort(order[:n]), np.flatnonzero(reference.coef_))


def test_shapley_values_of_any_sample_add_up_to_the_gain_of_all_groups():
    folds = KFold(3, shuffle=True, random_state=0)
    values = [
        ranker("shapley", n_groups=1, cv=folds).set_params(random_state=seed).fit(X, Y).scores_
        for seed in (0, 1)
    ]
    assert_allclose(values[0].sum(), values[1].sum())
    with pytest.warns(SpecialistWarning, match="tol"):
        ranker("shapley", n_groups=1, tol=1e-9, max_permutations=4).fit(X, Y)


def test_noise_is_not_selected_in_silence():
    with pytest.warns(SpecialistWarning, match="noise"):
        fitted = ranker(n_groups=1).fit(X, RNG.normal(size=150))
    assert fitted.get_support().sum() == 3


@pytest.mark.parametrize(
    ("groups", "columns"),
    [
        ({"a": (0, 2), "b": slice(2, 4)}, {"a": [0, 1], "b": [2, 3]}),
        ([["b.1", "b.0"], np.arange(4) == 0], {"group0": [3, 2], "group1": [0]}),
        ("blocks", {"a": [0, 1], "b": [2, 3]}),
        (2, {"group0": [0, 1], "group1": [2, 3]}),
    ],
)
def test_forms_of_groups(groups, columns):
    frame = pd.DataFrame(X[:, :4], columns=["a.0", "a.1", "b.0", "b.1"])
    fitted = FeatureGroupRanker(groups, n_groups=1, random_state=0).fit(frame, X[:, 0])
    assert {k: v.tolist() for k, v in fitted.feature_groups_.items()} == columns


@pytest.mark.parametrize(
    "groups", [3.0, 5, [], {"a": (0, 13)}, {"a": "name"}, {"a": [0, 1], "b": [1]}, {"a": []}]
)
def test_wrong_groups_are_refused(groups):
    with pytest.raises(ValueError, match="feature_groups"):
        FeatureGroupRanker(groups).fit(X, AMOUNT)


@pytest.mark.filterwarnings("ignore:The selected groups")
def test_samples_of_a_group_stay_together():
    twice, y = np.repeat(X, 2, axis=0), np.repeat(RNG.normal(size=150), 2)
    together = ranker("probe", n_groups=1).fit(twice, y, groups=np.repeat(np.arange(150), 2))
    apart = ranker("probe", n_groups=1).fit(twice, y)
    assert together.scores_.mean() < apart.scores_.mean()


def test_display():
    display = FeatureGroupDisplay.from_estimator(ranker("probe").fit(X, Y))
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == [
        f"group{k}" for k in range(4)
    ]
    plt.close(display.figure_)
    with pytest.raises(ValueError, match="selected"):
        FeatureGroupDisplay([1.0, 2.0], selected=[True])
