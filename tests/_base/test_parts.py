"""Parts: every short name resolves, and errors list the choices."""

import pytest
from sklearn.base import clone

from skspecialist.independence import TESTS, BaseIndependenceTest, FisherZ
from skspecialist.networks.penalties import PENALTIES, BasePenalty
from skspecialist.structure.aggregation import AGGREGATIONS, BaseAggregation, RankOne

KINDS = {
    BaseAggregation: AGGREGATIONS,
    BaseIndependenceTest: TESTS,
    BasePenalty: PENALTIES,
}
NAMES = [(kind, name) for kind, classes in KINDS.items() for name in classes]


@pytest.mark.parametrize(("kind", "name"), NAMES)
def test_short_name_gives_a_new_part_with_its_defaults(kind, name):
    part = kind.resolve(name, argument="part")
    assert type(part) is KINDS[kind][name]
    assert isinstance(part, kind)
    assert part is not kind.resolve(name, argument="part")
    assert clone(part).get_params() == type(part)().get_params()


def test_instance_is_cloned_with_its_parameters():
    rule = RankOne(n_iter=7)
    rule.fitted_ = True
    resolved = BaseAggregation.resolve(rule, argument="aggregation")
    assert resolved is not rule
    assert resolved.n_iter == 7
    assert not hasattr(resolved, "fitted_")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["unheard", "no.such", "", "base", "FisherZ"])
def test_unknown_name_lists_the_choices(kind, name):
    choices = ", ".join(map(repr, sorted(KINDS[kind])))
    message = rf"^part='{name}' is not known; use one of \[{choices}\] or an instance of"
    with pytest.raises(ValueError, match=message):
        kind.resolve(name, argument="part")


@pytest.mark.parametrize("part", [None, 1, RankOne, FisherZ()])
def test_another_type_is_refused(part):
    message = "aggregation must be a string or an instance of BaseAggregation, got"
    with pytest.raises(TypeError, match=message):
        BaseAggregation.resolve(part, argument="aggregation")


def test_user_can_register_a_short_name(monkeypatch):
    class Own(FisherZ):
        pass

    monkeypatch.setitem(TESTS, "own", Own)
    assert isinstance(BaseIndependenceTest.resolve("own", argument="test"), Own)
