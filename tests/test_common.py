"""Scikit-learn's own checks, without an expected failure, and its validation of parameters."""

import inspect
from pydoc import locate

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import estimator_checks_generator

from skspecialist import SparseSpecialistEncoder, TaskStructureIdentifier
from skspecialist.independence import BaseIndependenceTest
from skspecialist.networks.penalties import BasePenalty
from skspecialist.structure import Collider
from skspecialist.structure.aggregation import BaseAggregation
from tests._instances import INSTANCES, RELATIVES, SLOW_INSTANCES
from tests.test_docs import public_names

PUBLIC = {name: locate(name) for name in public_names()}
CLASSES = {
    name: thing
    for name, thing in PUBLIC.items()
    if isinstance(thing, type) and issubclass(thing, BaseEstimator)
}
VALIDATED = {
    name: thing for name, thing in PUBLIC.items() if hasattr(thing, "_skl_parameter_constraints")
}


def checks(estimators, kind=""):
    """Yield scikit-learn's checks, with names of classes: its own names take seconds."""
    for instance in estimators:
        for estimator, check in estimator_checks_generator(instance):
            names = [type(estimator).__name__, check.func.__name__, *check.keywords.values()]
            if kind in check.func.__name__:
                yield pytest.param(estimator, check, id="-".join(map(str, names)))


# Data of scikit-learn's checks have little to find, and the fits are short.
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(
    ("estimator", "check"), [*checks(INSTANCES), *checks(RELATIVES, "classifier")]
)
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize(("estimator", "check"), list(checks(RELATIVES + SLOW_INSTANCES)))
def test_scikit_learn_checks_of_other_settings(estimator, check):
    check(estimator)


def test_every_estimator_is_checked():
    fitted = {thing for thing in CLASSES.values() if hasattr(thing, "fit")}
    assert fitted == {type(estimator) for estimator in INSTANCES + RELATIVES}


@pytest.mark.parametrize("name", CLASSES)
def test_every_parameter_has_a_constraint(name):
    parameters = set(inspect.signature(CLASSES[name]).parameters)
    assert set(getattr(CLASSES[name], "_parameter_constraints", {})) == parameters


@pytest.mark.parametrize("name", VALIDATED)
def test_every_argument_of_a_function_is_validated(name):
    function, constraints = VALIDATED[name], VALIDATED[name]._skl_parameter_constraints
    arguments = inspect.signature(function).parameters
    assert set(constraints) == set(arguments)
    required = {
        argument: {"effect_size": 0.3, "cv_results": {}}.get(argument, np.eye(3))
        for argument, parameter in arguments.items()
        if parameter.default is parameter.empty
    }
    for argument in constraints:
        if constraints[argument] == "no_validation":
            continue
        with pytest.raises(ValueError, match=f"'{argument}' parameter"):
            function(**(required | {argument: object()}))


def use(part):
    """Use a part as those that hold it do."""
    if isinstance(part, BaseIndependenceTest):
        return part.test(*np.random.default_rng(0).normal(size=(3, 20)))
    X = np.random.default_rng(0).normal(size=(20, 6))
    if isinstance(part, BaseAggregation):
        return TaskStructureIdentifier(1, criterion=Collider(part), n_timesteps=6).fit(X, X)
    return SparseSpecialistEncoder(2, penalty=part, max_epochs=1).fit(X, X)


PARTS = [
    pytest.param(part, parameter, id=f"{part.__name__}-{parameter}")
    for part in CLASSES.values()
    if issubclass(part, BaseAggregation | BaseIndependenceTest | BasePenalty)
    for parameter in inspect.signature(part).parameters
]


@pytest.mark.parametrize(("part", "parameter"), PARTS)
def test_parameters_of_parts_are_validated(part, parameter):
    with pytest.raises(ValueError, match=f"'{parameter}' parameter of {part.__name__}"):
        use(part(**{parameter: object()}))
