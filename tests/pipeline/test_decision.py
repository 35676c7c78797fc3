"""Splits of the sequences, and the choice among the candidates of a task."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import binom, norm
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedKFold

from skspecialist._data.tasks import Task, TaskTargets
from skspecialist.pipeline._candidates import Candidate
from skspecialist.pipeline._comparison import Evidence
from skspecialist.pipeline._decision import (
    Decision,
    _drop_hopeless,
    best_mixture,
    choose_candidate,
    first_specialist,
    mix_candidates,
    restrict_to_final,
)
from skspecialist.pipeline._sequences import LabeledSequences, other_environments, split_sequences

RNG = np.random.default_rng(0)


def sample(n=200, groups=None, environments=None, y=None):
    y = RNG.normal(size=n) if y is None else y
    return LabeledSequences.validated(
        RNG.normal(size=(n, 2, 1)), y, TaskTargets(y), groups=groups, environments=environments
    )


@pytest.mark.parametrize("groups", [None, RNG.integers(30, size=200), np.arange(200) // 4])
@pytest.mark.parametrize("split", [(0.6, 0.2, 0.2), [0.75, 0.25], (0.1, 0.9)])
def test_parts_are_disjoint_whole_and_of_the_given_size(split, groups):
    data = sample(groups=groups)
    (parts,) = split_sequences(split, data, seed=3)
    seen = np.concatenate([parts.estimators, parts.held_out])
    assert_array_equal(np.sort(seen), np.arange(200))
    assert np.isin(parts.representation, parts.estimators).all()
    slack = 2 if groups is None else 2 * np.bincount(groups).max()
    assert abs(len(parts.representation) - 200 * split[0]) <= slack
    assert abs(len(parts.held_out) - 200 * split[-1]) <= slack
    if groups is not None:
        assert not np.intersect1d(groups[parts.held_out], groups[parts.estimators]).size


@pytest.mark.parametrize(
    ("split", "count"), [(4, 4), (GroupKFold(3), 3), (LeaveOneGroupOut(), 20), ((0.5, 0.5), 1)]
)
def test_a_splitter_lets_every_sequence_decide_once(split, count):
    data = sample(groups=np.arange(200) % 20)
    parts = list(split_sequences(split, data, seed=0))
    assert len(parts) == count
    if count > 1:
        decided = np.concatenate([part.held_out for part in parts])
        assert_array_equal(np.sort(decided), np.arange(200))
        assert all(not np.intersect1d(part.held_out, part.estimators).size for part in parts)


def test_pairs_of_indices_are_a_split_too():
    pairs = [(np.arange(150), np.arange(150, 200))]
    (parts,) = split_sequences(pairs, sample(), seed=0)
    assert_array_equal(parts.held_out, np.arange(150, 200))


def test_a_stratified_splitter_receives_the_labels():
    y = np.arange(200) % 2
    for parts in split_sequences(StratifiedKFold(4), sample(y=y), seed=0):
        assert y[parts.held_out].mean() == 0.5


def test_a_rare_class_is_always_in_the_first_part():
    y = np.zeros(100, dtype=int)
    y[:2] = 1
    for seed in range(20):
        (parts,) = split_sequences((0.5, 0.5), sample(100, y=y), seed)
        assert y[parts.representation].any()


def test_a_part_without_sequences_is_an_error():
    with pytest.raises(ValueError, match="leaves a part empty"):
        list(split_sequences((0.6, 0.2, 0.2), sample(20, groups=np.zeros(20)), 0))


def test_labels_of_sequences_are_checked():
    with pytest.raises(ValueError, match="inconsistent"):
        sample(20, groups=np.zeros(19))
    with pytest.raises(ValueError, match="one dimension"):
        sample(20, environments=np.zeros((20, 2)))


def test_rows_are_taken_from_everything():
    y = pd.DataFrame({"a": RNG.normal(size=20), "b": list("xy") * 10})
    data = sample(20, groups=np.arange(20), environments=list("uv") * 10, y=y)
    rows = np.array([3, 1, 7])
    part = data.take(rows)
    assert_array_equal(part.X, data.X[rows])
    assert_array_equal(part.groups, data.groups[rows])
    assert_array_equal(part.environments, [1, 1, 1])
    for short, long in zip(part.values, data.values, strict=True):
        assert_array_equal(short, long[rows])


def decide(gains, missing=None, groups=None, saved=100.0):
    """Choose where the generalist saves the same loss of every task; NaN marks failures."""
    decisions = []
    for i, table in enumerate(np.asarray(gains).swapaxes(0, 1)):  # (n_sequences, 2)
        generalist = np.ones(len(table))
        losses = {"generalist": generalist, "null": generalist + saved}
        for name, column in zip(("latents", "steps"), table.T, strict=True):
            if not np.isnan(column).any():
                losses[name] = generalist - column
        reads = {"latents": "latents", "steps": "steps"}
        evidence = Evidence(Task("t"), generalist, {}, losses, {}, groups, reads=reads)
        decisions.append(choose_candidate(evidence, None if missing is None else missing[i]))
    return decisions


def names_of(decisions):
    return [next(iter(decision.weights)) for decision in decisions]


@pytest.mark.slow
@pytest.mark.parametrize(("saved", "probability"), [(1e9, norm.sf(-1)), (0.0, 0.5), (-1.0, 0.0)])
def test_no_gain_specializes_as_often_as_chance_implies(saved, probability):
    # One standard error is allowed, or nothing where the generalist saves nothing; where it is
    # worse than the null model, this is what a specialist is compared with.
    n_tasks = 2000
    gains = np.random.default_rng(1).normal(size=(200, n_tasks, 2))
    gains[..., 1] = np.nan
    decisions = decide(gains, saved=saved)
    specialized = sum(decision.reason is None for decision in decisions)
    low, high = binom.ppf([0.0005, 0.9995], n_tasks, probability)
    assert low <= specialized <= high


def test_a_loss_is_not_excused():
    gains = np.random.default_rng(1).normal([-0.3, -0.02], 1.0, size=(400, 2))[:, :, None]
    gains = np.concatenate([gains, np.full_like(gains, np.nan)], axis=2)
    decisions = decide(gains, saved=5.0)
    assert names_of(decisions) == ["generalist", "latents"]
    assert "would add" in decisions[0].reason


def test_a_task_without_specialists_has_a_reason():
    (decision,) = decide(np.full((30, 1, 2), np.nan), ["not found"])
    assert decision.weights == {"generalist": 1.0}
    assert decision.reason == "not found"
    assert np.isnan(decision.gain)


def test_the_better_specialist_is_compared_with_the_generalist():
    rng = np.random.default_rng(2)
    means = np.array([[3.0, 1.0], [1.0, 3.0], [-3.0, -1.0], [2.0, np.nan], [np.nan, 2.0]])
    decisions = decide(rng.normal(means, size=(100, 5, 2)))
    assert names_of(decisions) == ["latents", "steps", "generalist", "latents", "steps"]
    assert_allclose([decision.gain for decision in decisions], [3, 3, -1, 2, 2], atol=0.5)
    assert "would add" in decisions[2].reason


ALL = {"latents": 1.0}


@pytest.mark.parametrize(
    ("decision", "found", "weights", "reason"),
    [
        (Decision(ALL), ["latents"], ALL, None),
        (Decision(ALL), ["steps"], {"generalist": 1.0}, "no latents of this task were found in"),
        (Decision(ALL), [], {"generalist": 1.0}, "nothing was found"),
        (first_specialist(dict.fromkeys(("steps", "latents"))), ["latents", "steps"], ALL, None),
        (first_specialist({"steps": None}), ["steps"], {"steps": 1.0}, None),
        (first_specialist({}), [], {"generalist": 1.0}, "nothing was found"),
        (Decision({"generalist": 1.0}, "never"), ["latents"], {"generalist": 1.0}, "never"),
        (
            Decision({"generalist": 0.25, "latents": 0.25, "steps": 0.5}),
            ["steps"],
            {"generalist": 0.5, "steps": 0.5},
            None,
        ),
    ],
)
def test_weights_of_candidates_that_the_final_fit_lacks(decision, found, weights, reason):
    candidates = {k: Candidate(k, np.arange(1), None, k) for k in ("generalist", *found)}
    final = restrict_to_final(decision, candidates, None if found else "nothing was found")
    assert final.weights == pytest.approx(weights)
    assert final.reason is None if reason is None else reason in final.reason


def mixture(n=4000, n_classes=0, seed=0):
    """Held-out scores of two candidates whose errors are independent, and one of noise."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n)
    noise = rng.normal(size=(n, 3)) * [1.0, 2.0, 1.0]
    scores = np.stack([truth + noise[:, 0], truth + noise[:, 1], noise[:, 2]])[:, :, None]
    names = ("generalist", "steps", "null")
    losses = {name: ((s[:, 0] - truth) ** 2) for name, s in zip(names, scores, strict=True)}
    table = dict(zip(names, scores, strict=True))
    reads = {"steps": "steps"}
    return Evidence(Task("t"), truth, table, losses, dict.fromkeys(names, 0.0), None, reads=reads)


@pytest.mark.parametrize("loss", ["auto", "huber", lambda truth, found: (truth - found) ** 2])
def test_weights_of_a_mixture(loss):
    # Least squares of independent errors of variance 1 and 4 beside an independent zero-mean
    # column of variance 1: the weights of the normal equations on the simplex.
    evidence = mixture()
    covariance = np.diag([1.0, 4.0, 2.0])
    covariance[2, 2] = 1.0 + 1.0  # error of the noise: the truth, of variance 1, and itself
    inverse = np.linalg.solve(covariance, np.ones(3))
    expected = inverse / inverse.sum()
    decision = mix_candidates(loss, evidence)
    found = [decision.weights[name] for name in ("generalist", "steps", "null")]
    assert_allclose(found, expected, atol=0.05)
    assert decision.gain > 5 * decision.standard_error > 0


def test_a_mixture_is_never_worse_out_of_fold_than_any_candidate():
    for seed in range(20):
        evidence = mixture(60, seed=seed)
        decision = mix_candidates("auto", evidence)
        mixed = sum(w * evidence.scores[name] for name, w in decision.weights.items())
        loss = ((mixed[:, 0] - evidence.truth) ** 2).mean()
        # Weights below 2 % are dropped, which costs next to nothing.
        assert loss <= 1.01 * min(values.mean() for values in evidence.losses.values())


def test_uncertain_gains_are_shrunk_to_the_generalist():
    for n_sequences, kept in [(60, (0.01, 0.97)), (4000, (1.0, 1.0))]:
        evidence = mixture(n_sequences)
        weights, mixed = best_mixture("auto", evidence)
        gains = evidence.losses["generalist"] - (mixed[:, 0] - evidence.truth) ** 2
        factor = max(0.0, 1 - (evidence.error(gains) / gains.mean()) ** 2)
        factor = 1.0 if factor > 0.98 else factor
        assert kept[0] <= factor <= kept[1]
        found = mix_candidates("auto", evidence).weights
        assert_allclose(found["null"], factor * weights["null"])


def test_other_environments_are_fitted_on():
    environments = np.array(list("aabbbc") * 10)
    data = sample(60, environments=environments)
    seen = []
    for rows, others in other_environments(data, data):
        assert len(np.unique(environments[others])) == 1
        assert not np.isin(environments[rows], environments[others]).any()
        seen.extend(others)
    assert_array_equal(np.sort(seen), np.arange(60))
    ((rows, others),) = other_environments(sample(10), sample(5))
    assert (len(rows), len(others)) == (10, 5)


@pytest.mark.parametrize(("n", "dropped"), [(2, set()), (60, {"worse"})])
def test_few_sequences_of_the_first_fold_drop_no_candidate(n, dropped):
    truth = np.linspace(-1, 1, n)
    scores = {"generalist": truth + 0.1, "null": truth * 0, "worse": truth + 2}
    scores = {name: values[:, None] for name, values in scores.items()}
    evidence = Evidence(Task("task"), truth, scores, {}, {}, None)
    evidence.losses = {name: evidence.sample_losses("auto", s) for name, s in scores.items()}
    fold = SimpleNamespace(dropped=[set()])
    _drop_hopeless(lambda folds: {0: evidence}, "auto", fold)
    assert fold.dropped == [dropped]
