"""Criteria are exchangeable estimators, and every parameter acts, warns or raises."""

import warnings
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.exceptions import SpecialistWarning
from skspecialist.structure import BaseCriterion, Collider, Direct, Selection

OBSERVED = make_collider_sequences(150, n_timesteps=9, n_tasks=2, segment_length=3, random_state=0)
SELECTED = make_collider_sequences(200, 6, 1, selection=True, segment_length=3, random_state=1)


def fit(criterion, **params):
    params = {"segment_length": 3, "n_subsamples": 0, "random_state": 0} | params
    identifier = TaskStructureIdentifier(criterion=criterion, **params)
    if criterion == "selection" or isinstance(criterion, Selection):
        return identifier.fit(SELECTED.X)
    return identifier.fit(OBSERVED.X, OBSERVED.y)


@cache
def fit_default(criterion):
    return fit(criterion)


def results(identifier):
    names = ["structure_", "pvalues_", "adjusted_pvalues_", "effect_sizes_", "segments_"]
    values = [np.nan_to_num(getattr(identifier, name), nan=-1.0) for name in names]
    frequency = np.nan_to_num(identifier.selection_frequency_, nan=-1.0)
    return [*values, frequency, identifier.tested_]


@pytest.mark.parametrize(
    ("name", "criterion"),
    [("direct", Direct()), ("collider", Collider()), ("selection", Selection())],
)
def test_a_string_is_the_criterion_with_default_parameters(name, criterion):
    named, given = fit_default(name), fit(criterion)
    for one, other in zip(results(named), results(given), strict=True):
        assert_array_equal(one, other)
    assert type(named.criterion_) is type(given.criterion_) is type(criterion)
    assert given.criterion_ is not criterion


def test_auto_depends_on_the_tasks():
    assert isinstance(fit("auto").criterion_, Direct)
    identifier = TaskStructureIdentifier(n_subsamples=0, random_state=0).fit(SELECTED.X)
    assert isinstance(identifier.criterion_, Selection)


def test_parameters_of_a_criterion_are_nested():
    identifier = TaskStructureIdentifier(criterion=Collider())
    identifier.set_params(criterion__aggregation="any")
    assert clone(identifier).criterion.aggregation == "any"


def test_a_new_criterion_needs_one_class():
    class Nothing(BaseCriterion):
        def find(self, data, identifier):
            result = Direct().find(data, identifier)
            result.structure[:] = False
            return result

    assert not fit(Nothing()).structure_.any()


CHANGES = [
    {"conditioning": "band"},
    {"conditioning": "all"},
    {"independence_test": "rcit"},
    {"independence_test": "wilks"},
    {"independence_test": "robust"},
    {"alpha": 0.9},
    {"correction": "none"},
    {"min_effect_size": 0.9},
    {"segment_steps": "last"},
    {"segment_length": 2},
    {"segment_length": [(0, 2), (3, 5)]},
    {"n_subsamples": 2},
    {"n_jobs": 2},
]
# The value that "auto" stands for changes nothing.
SAME = [("direct", "all"), ("collider", "band"), ("selection", "all")]
SAME += [("direct", "robust"), ("collider", "wilks")]


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("criterion", ["direct", "collider", "selection"])
def test_every_parameter_acts_warns_or_raises(criterion, change):
    name = next(iter(change))
    if (criterion, change.get("conditioning", change.get("independence_test"))) in SAME:
        return
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SpecialistWarning)
        before = results(fit_default(criterion))
        caught.clear()
        try:
            after = results(fit(criterion, **change))
        except ValueError as error:
            after, messages = before, [str(error)]
        else:
            messages = [str(warning.message) for warning in caught]
    changed = any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    reported = any(f"{name}=" in message for message in messages)
    assert changed != reported


@pytest.mark.parametrize(
    ("criterion", "conditioning"), [("collider", "all"), ("selection", "band")]
)
def test_contradictory_conditioning_is_an_error(criterion, conditioning):
    with pytest.raises(ValueError, match=f"conditioning='{conditioning}' contradicts"):
        fit(criterion, conditioning=conditioning)


def test_conditioning_that_was_used():
    assert fit_default("direct").conditioning_ == "all"
    assert fit("direct", conditioning="band").conditioning_ == "band"
    assert fit_default("collider").conditioning_ == "band"
    assert fit_default("selection").conditioning_ == "all"
    # Fewer than five sequences per column.
    few = TaskStructureIdentifier(3, independence_test="wilks")
    assert few.fit(OBSERVED.X[:40], OBSERVED.y[:40]).conditioning_ == "band"
    # Fewer than 1.4 sequences per column, and all others nonetheless.
    robust = TaskStructureIdentifier()
    long = make_collider_sequences(40, 60, 2, random_state=0)
    with pytest.warns(SpecialistWarning, match="nearest steps only"):
        assert robust.fit(long.X, long.y).conditioning_ == "window"
    robust.set_params(conditioning="all")
    assert robust.fit(long.X, long.y).conditioning_ == "all"


@pytest.mark.parametrize("criterion", ["direct", "collider"])
@pytest.mark.parametrize(
    ("segment_steps", "tested"),
    [
        ("auto", [False, True, True] * 3),
        ("interior", [False, True, True] * 3),
        ("all", [True] * 9),
        ("last", [False, False, True] * 3),
    ],
)
def test_tested_steps(criterion, segment_steps, tested):
    found = fit(criterion, segment_steps=segment_steps)
    assert_array_equal(found.tested_, np.repeat(np.array(tested)[:, None], 2, axis=1))


def test_untested_steps():
    X = OBSERVED.X.copy()
    X[:, 4] = 1.0
    with pytest.warns(SpecialistWarning, match="1 of 3 segments could not be tested"):
        found = TaskStructureIdentifier([(1, 4), (4, 5), (6, 9)]).fit(X, OBSERVED.y)
    # Left out, first of a segment, and constant.
    assert_array_equal(np.flatnonzero(~found.tested_[:, 0]), [0, 1, 4, 5, 6])


@pytest.mark.parametrize("criterion", ["direct", "collider"])
def test_segments_of_one_step_have_one_step_to_test(criterion):
    auto = fit(criterion, segment_length=1)
    every = fit(criterion, segment_length=1, segment_steps="all")
    with pytest.warns(SpecialistWarning, match="segment_steps='interior' has no effect"):
        interior = fit(criterion, segment_length=1, segment_steps="interior")
    for one, other, third in zip(*map(results, (auto, every, interior)), strict=True):
        assert_array_equal(one, other)
        assert_array_equal(one, third)
    assert auto.tested_.all()


def test_parameters_at_their_defaults_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for criterion in ("direct", "collider"):
            fit(criterion)
