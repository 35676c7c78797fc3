"""Localization of tasks in sequences with weak labels."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import average_precision_score, r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold

from skspecialist import TaskLocalizer
from skspecialist._data.ragged import RaggedSequences
from skspecialist.exceptions import SpecialistWarning
from skspecialist.localizer._features import LIMIT, compress_outliers

QUICK = {"hidden_layer_sizes": (16,), "n_components": 4, "max_epochs": 20, "random_state": 0}


def draw(n=300, n_timesteps=12, n_features=4, seed=0):
    """Return sequences and the steps of two tasks, each where a feature is large."""
    X = np.random.default_rng(seed).normal(size=(n, n_timesteps, n_features))
    return X, X[:, :, :2] > 1.4


def chained(X, correlation=0.9):
    """Return sequences in which a step carries its past."""
    X = X.copy()
    for t in range(1, X.shape[1]):
        X[:, t] = correlation * X[:, t - 1] + np.sqrt(1 - correlation**2) * X[:, t]
    return X


def precision(localizer, X, steps):
    found = localizer.predict_proba(X)
    return average_precision_score(steps.reshape(-1, 2), found.reshape(-1, 2))


@pytest.fixture(scope="module")
def fitted():
    X, steps = draw()
    return TaskLocalizer(**QUICK).fit(X, steps.any(axis=1))


def test_steps_come_back(fitted):
    X, steps = draw(seed=1)
    assert precision(fitted, X, steps) > 0.97
    found = fitted.predict(X)
    assert found[steps].mean() > 0.8
    assert (~steps)[found].mean() < 0.13
    assert (fitted.thresholds_ >= 0.5).all()


def test_each_task_uses_its_own_features(fitted):
    X, steps = draw(seed=1)
    moved = X.copy()
    moved[:, :, 2:] = np.random.default_rng(2).normal(size=moved[:, :, 2:].shape)
    assert precision(fitted, moved, steps) > 0.95
    assert 0 < fitted.support_.sum() <= 4
    names = fitted.get_feature_names_out()
    assert len(names) == (fitted.mask_ > 0).sum() == fitted.transform(X).shape[1]
    assert {name.split("_")[0] for name in names} == {"task0", "task1"}


@pytest.mark.parametrize("pooling", ["log_sum_exp", "top_k_mean"])
@pytest.mark.slow
def test_other_poolings_rank_steps_too(pooling):
    X, steps = draw()
    quick = QUICK | {"max_epochs": 20}
    localizer = TaskLocalizer(**quick, pooling=pooling).fit(X, steps.any(axis=1))
    assert precision(localizer, *draw(seed=1)) > 0.9


@pytest.mark.slow
def test_amounts_come_apart():
    X, _ = draw()
    parts = np.stack([np.maximum(X[:, :, 0], 0), -5 * X[:, :, 1]], axis=2)
    localizer = TaskLocalizer(**QUICK).fit(X, parts.sum(axis=1))
    X, _ = draw(seed=1)
    found = localizer.contributions(X)
    assert r2_score(np.maximum(X[:, :, 0], 0).ravel(), found[:, :, 0].ravel()) > 0.95
    assert r2_score(-5 * X[:, :, 1].ravel(), found[:, :, 1].ravel()) > 0.95
    with pytest.raises(AttributeError) as refusal:
        localizer.predict_proba(X)
    assert "use contributions" in str(refusal.value.__cause__)
    with pytest.warns(SpecialistWarning, match="'task0', 'task1'"):
        assert not localizer.predict(X).any()


@pytest.mark.slow
def test_innovations_are_found_among_traces_of_the_past():
    X, steps = draw(400)
    X_test, steps_test = draw(seed=1)
    scores = {}
    for conditional in (False, True):
        localizer = TaskLocalizer(**QUICK, conditional=conditional)
        localizer.fit(chained(X), steps.any(axis=1))
        scores[conditional] = precision(localizer, chained(X_test), steps_test)
    assert scores[True] > 0.9 > scores[False] + 0.3


@pytest.mark.slow
def test_smoothing_finds_tasks_that_last():
    rng = np.random.default_rng(0)

    def lasting(n):
        X, steps = rng.normal(size=(n, 20, 2)), np.zeros((n, 20, 2), dtype=bool)
        for i, task in np.argwhere(rng.random((n, 2)) < 0.5):
            start = rng.integers(14)
            X[i, start : start + 6, task] += 1.5
            steps[i, start : start + 6, task] = True
        return X, steps

    (X, steps), test = lasting(300), lasting(300)
    fits = [TaskLocalizer(**QUICK, smoothing=s).fit(X, steps.any(axis=1)) for s in (0, 2)]
    alone, smoothed = (precision(fit, *test) for fit in fits)
    assert smoothed > alone + 0.1
    assert fits[1].validation_score_ > fits[0].validation_score_


@pytest.mark.slow
def test_long_sequences_are_learned_from_in_pieces():
    rng = np.random.default_rng(0)

    def long(n):
        X, steps = rng.normal(size=(n, 200, 4)), np.zeros((n, 200, 2), dtype=bool)
        for i, task in np.argwhere(rng.random((n, 2)) < 0.5):
            steps[i, :, task] = rng.random(200) < 0.08
        X[:, :, :2] += 4 * steps
        return X, steps

    (X, steps), test = long(40), long(30)
    localizer = TaskLocalizer(**QUICK | {"max_epochs": 20}, window=50)
    assert precision(localizer.fit(X, steps.any(axis=1)), *test) > 0.9
    with pytest.raises(ValueError, match="window must be None where y holds amounts"):
        TaskLocalizer(**QUICK, window=100).fit(X, X.sum(axis=1))


@pytest.mark.parametrize("longest", [1, 3, 4, 9])
def test_pieces_are_the_steps_of_their_sequences(longest):
    lengths = [1, 3, 4, 8, 9]
    parts = [np.random.default_rng(n).normal(size=(n, 2)) for n in lengths]
    whole = RaggedSequences.read(TaskLocalizer(), parts, reset=True)
    pieces, owners = whole.split(longest)
    assert pieces.lengths.max() <= longest
    assert_array_equal(np.bincount(owners), -(-np.array(lengths) // longest))
    assert_array_equal(pieces.X[pieces.observed], np.concatenate(parts))
    assert_array_equal(np.bincount(owners, weights=pieces.lengths), lengths)
    assert whole.split(9)[0] is whole


def test_values_far_out_are_drawn_in_but_keep_their_order():
    values = np.linspace(-50, 50, 1001)
    found = compress_outliers(values)
    near = np.abs(values) <= LIMIT
    assert_array_equal(found[near], values[near])
    assert (np.diff(found) > 0).all()
    assert np.abs(found).max() < 2 * LIMIT
    assert np.isfinite(compress_outliers(np.array([-1e300, 1e300]))).all()


@pytest.mark.parametrize("conditional", [False, True])
def test_a_single_step_is_a_sequence(conditional):
    X, steps = draw(60)
    quick = QUICK | {"max_epochs": 2}
    localizer = TaskLocalizer(**quick, conditional=conditional).fit(X, steps.any(axis=1))
    assert np.isfinite(localizer.predict_proba(X[:, :1])).all()


def test_steps_of_another_width_are_refused(fitted):
    X, _ = draw(20)
    with pytest.raises(ValueError, match="steps of 1 features, but fit had 4: pass groups"):
        fitted.predict(X.reshape(-1, 4))


def test_amounts_that_hardly_differ_are_refused():
    X, _ = draw(60)
    with pytest.raises(ValueError, match="of y are near 1e\\+09, but differ by"):
        TaskLocalizer(**QUICK).fit(X, 1e9 + X[:, :, 0].sum(axis=1))


@pytest.mark.slow
def test_a_task_that_no_step_indicates_is_named():
    X, steps = draw()
    y = np.column_stack([steps[:, :, 0].any(axis=1), np.arange(len(X)) % 2])
    localizer = TaskLocalizer(**QUICK, sparsity=0.2)
    with pytest.warns(SpecialistWarning, match=r"does not discriminate .* without \['task1'\]"):
        localizer.fit(X, y)
    assert localizer.mask_[0].any()
    assert np.ptp(localizer.predict_proba(X)[:, :, 1]) < 1e-12


def ragged_forms():
    """Return the same sequences of unequal lengths in three forms, and y."""
    X, steps = draw(60)
    lengths = np.random.default_rng(3).integers(1, 13, size=60)
    parts = [x[:n] for x, n in zip(X, lengths, strict=True)]
    y = np.array([s[:n].any(axis=0) for s, n in zip(steps, lengths, strict=True)])
    padded = np.full(X.shape, np.nan)
    for place, part in zip(padded, parts, strict=True):
        place[: len(part)] = part
    rows = np.random.default_rng(4).permutation(lengths.sum())
    return parts, padded, np.concatenate(parts), np.repeat(np.arange(60), lengths), rows, y


@pytest.mark.filterwarnings("ignore:No step reaches:skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("conditional", [False, True])
def test_three_forms_of_unequal_lengths_have_one_answer(conditional):
    parts, padded, stacked, groups, _, y = ragged_forms()
    localizer = TaskLocalizer(**QUICK | {"max_epochs": 3}, conditional=conditional, smoothing=1)
    forms = [(parts, None), (padded, None), (stacked, groups)]
    fits = [localizer.__sklearn_clone__().fit(X, y, groups=g) for X, g in forms]
    there = ~np.isnan(padded[:, :, 0])
    found = [fit.predict_proba(X, groups=g) for fit, (X, g) in zip(fits, forms, strict=True)]
    assert np.isnan(found[1][~there]).all()
    assert_allclose(np.concatenate(found[0]), found[2], rtol=0, atol=1e-6)
    assert_allclose(found[1][there], found[2], rtol=0, atol=1e-6)
    for X, g in forms[1:]:
        assert_allclose(fits[0].transform(X, groups=g), fits[0].transform(parts), atol=1e-6)
        assert_allclose(fits[0].score(X, y, groups=g), fits[0].score(parts, y), atol=1e-6)
    assert_array_equal(np.concatenate(fits[0].predict(parts)), fits[0].predict(padded)[there])
    assert not fits[0].predict(padded)[~there].any()
    assert (fits[0].step_weights(padded)[~there] == 0).all()


def test_rows_of_a_sequence_need_not_lie_together(fitted):
    X, _ = draw(20, seed=5)
    groups = np.repeat(np.arange(20), 12)
    shuffled = np.argsort(np.tile(np.arange(12), 20), kind="stable")  # steps stay in order
    expected = fitted.predict_proba(X).reshape(-1, 2)[shuffled]
    found = fitted.predict_proba(X.reshape(-1, 4)[shuffled], groups=groups[shuffled])
    assert_allclose(found, expected, atol=1e-12)


def test_a_long_sequence_is_looked_at_in_parts(fitted, monkeypatch):
    X, _ = draw(7, n_timesteps=50, seed=6)
    expected = fitted.predict_proba(X), fitted.transform(X)
    monkeypatch.setattr("skspecialist.localizer._networks.SEQUENCE_CHUNK", 60)
    monkeypatch.setattr("skspecialist.localizer._networks.CHUNK", 7)
    assert_allclose(fitted.predict_proba(X), expected[0], atol=1e-12)
    assert_allclose(fitted.transform(X), expected[1], atol=1e-12)


def test_several_classes_are_several_tasks():
    X, steps = draw(90)
    labels = np.array(["none", "first", "second"])[steps.any(axis=1) @ [1, 1]]
    localizer = TaskLocalizer(**QUICK | {"max_epochs": 2}).fit(X, labels)
    assert localizer.task_names_ == ["task0=first", "task0=none", "task0=second"]
    assert localizer.predict_proba(X).shape == (90, 12, 3)
    assert localizer.step_weights(X).shape == (90, 12, 1)
    assert_allclose(localizer.step_weights(X)[..., 0], localizer.predict_proba(X).max(axis=2))


@pytest.mark.slow
def test_missing_values_do_not_count():
    X, steps = draw()
    y = steps.any(axis=1).astype(object)
    y[:100, 0] = None
    localizer = TaskLocalizer(**QUICK | {"max_epochs": 60}).fit(X, y)
    assert precision(localizer, *draw(seed=1)) > 0.95
    y[:, 1] = None
    only_first = localizer.score(X, y)
    assert only_first > localizer.score(X, steps.any(axis=1))


def test_groups_are_held_out_together():
    X, steps = draw(40)
    recording = np.repeat(np.arange(10), 4)
    y = steps.any(axis=1)
    together = TaskLocalizer(**QUICK | {"max_epochs": 2}).fit(X, y, groups=recording)
    apart = TaskLocalizer(**QUICK | {"max_epochs": 2}).fit(X, y)
    assert_allclose(together.predict_proba(X), apart.predict_proba(X))  # of all sequences
    assert together.validation_score_ != apart.validation_score_
    with pytest.raises(ValueError, match="groups needs at least two"):
        TaskLocalizer(**QUICK).fit(X, y, groups=np.zeros(40))


@pytest.mark.filterwarnings("ignore:No step reaches:skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("as_list", [False, True])
def test_grid_search_with_groups(as_list):
    X, steps = draw(40)
    X = list(X) if as_list else X
    search = GridSearchCV(
        TaskLocalizer(**QUICK | {"max_epochs": 2}),
        {"smoothing": [0, 1], "conditional": [False, True]},
        cv=GroupKFold(2),
        error_score="raise",
    )
    search.fit(X, steps.any(axis=1), groups=np.arange(40) // 4)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.predict(X)) == 40


@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        (np.ones((5, 3, 2)), [0, 1, 0, 1, 0], {"hidden_layer_sizes": (0,)}, "hidden_layer_sizes"),
        (np.ones((5, 3, 2)), [0, 1, 0, 1], {}, "X and y"),
        (np.ones((5, 3, 2)), [1, 1, 1, 1, 1], {}, "y"),
        (np.ones((5, 4)), [0, 1, 0, 1, 0], {"n_timesteps": 3}, "n_timesteps"),
        ([np.ones((2, 3)), np.ones((0, 3))], [0, 1], {}, "Sequence 1 of X"),
        ([np.ones((2, 3)), np.ones((2, 4))], [0, 1], {}, "X"),
        (np.full((4, 3, 2), np.nan), [0, 1, 0, 1], {}, "X"),
        (np.ones((5, 3, 2)), [0, 1, 0, 1, 0], {"pooling": "max"}, "pooling"),
        (np.ones((5, 3, 2)), [0, 1, 0, 1, 0], {"device": "nowhere"}, "device"),
    ],
)
def test_bad_input_is_refused_by_name(X, y, options, message):
    with pytest.raises((ValueError, TypeError), match=message):
        TaskLocalizer(**QUICK | {"max_epochs": 1} | options).fit(X, y)


def test_another_number_of_features_is_refused(fitted):
    with pytest.raises(ValueError, match="features"):
        fitted.predict(np.ones((2, 3, 5)))


@pytest.mark.parametrize(
    ("options", "as_rows"), [({"pooling": "top_k_mean"}, False), ({"n_timesteps": 3}, True)]
)
def test_a_parameter_without_effect_warns(options, as_rows):
    X, steps = draw(30)
    y = steps.sum(axis=1).astype(float)
    X, groups = (X.reshape(-1, 4), np.repeat(np.arange(30), 12)) if as_rows else (X, None)
    with pytest.warns(SpecialistWarning, match=f"{next(iter(options))}.* has no effect"):
        TaskLocalizer(**QUICK | {"max_epochs": 1} | options).fit(X, y, groups=groups)
