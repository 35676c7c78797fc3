"""Scikit-learn's own checks, without an expected failure, and a few on top of them."""

import inspect

import pytest
from sklearn.base import clone
from sklearn.utils.estimator_checks import parametrize_with_checks

from tests._instances import INSTANCES


@parametrize_with_checks(INSTANCES)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("estimator", INSTANCES, ids=repr)
def test_every_parameter_has_a_constraint(estimator):
    assert set(estimator._parameter_constraints) == set(estimator.get_params(deep=False))


@pytest.mark.parametrize("estimator", INSTANCES, ids=repr)
def test_only_the_main_parameter_may_be_positional(estimator):
    parameters = list(inspect.signature(type(estimator)).parameters.values())
    positional = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= 4


@pytest.mark.parametrize("estimator", INSTANCES, ids=repr)
def test_clone_keeps_every_parameter(estimator):
    assert repr(clone(estimator).get_params()) == repr(estimator.get_params())
