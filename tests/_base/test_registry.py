"""Parts: short strings, instances, clones, and what is refused."""

import sys

import pytest
from sklearn.base import clone

from skspecialist._base.registry import Part


class Filling(Part):
    """A kind of part."""


class Jam(Filling, short_name="jam"):
    def __init__(self, sugar=1.0):
        self.sugar = sugar


class Topping(Part):
    """Another kind."""


class Cream(Topping, short_name="cream"):
    pass


def test_short_string_gives_a_new_default_part():
    first, second = (Filling.resolve("jam", argument="filling") for _ in range(2))
    assert isinstance(first, Jam)
    assert first.sugar == 1.0
    assert first is not second


def test_instance_is_cloned_with_its_parameters():
    jam = Jam(sugar=0.3)
    jam.fitted_ = True
    resolved = Filling.resolve(jam, argument="filling")
    assert resolved is not jam
    assert resolved.sugar == 0.3
    assert not hasattr(resolved, "fitted_")


def test_parts_are_estimators():
    assert clone(Jam(sugar=2.0)).get_params() == {"sugar": 2.0}
    assert Jam().set_params(sugar=3.0).sugar == 3.0


@pytest.mark.parametrize("name", ["cream", "honey", "no.such", "", "is"])
def test_unknown_string_names_the_argument_and_the_choices(name):
    with pytest.raises(ValueError, match=r"filling='.*' is not known; use one of \['jam'\]"):
        Filling.resolve(name, argument="filling")


@pytest.mark.parametrize("part", [None, 1, Jam, Cream()])
def test_another_kind_of_thing_is_refused(part):
    with pytest.raises(TypeError, match="filling must be a string or an instance of Filling"):
        Filling.resolve(part, argument="filling")


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package whose modules are the parts of one kind."""
    (tmp_path / "pantry").mkdir()
    (tmp_path / "pantry" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "pantry"
    for module in [name for name in sys.modules if name.split(".")[0] == "pantry"]:
        del sys.modules[module]


def test_a_part_is_one_file_loaded_when_asked_for(room):
    class Spread(Part, room="pantry"):
        pass

    room.joinpath("butter.py").write_text(
        "from skspecialist._base.registry import Part\n"
        "Spread = next(c for c in Part.__subclasses__() if c._room == 'pantry')\n"
        "class Butter(Spread, short_name='butter'):\n    pass\n"
    )
    assert type(Spread.resolve("butter", argument="spread")).__name__ == "Butter"
    with pytest.raises(ValueError, match=r"use one of \['butter'\]"):
        Spread.resolve("margarine", argument="spread")


def test_a_part_whose_own_import_fails_says_so(room):
    class Sauce(Part, room="pantry"):
        pass

    room.joinpath("mustard.py").write_text("import a_package_that_is_not_there\n")
    with pytest.raises(ModuleNotFoundError, match="a_package_that_is_not_there"):
        Sauce.resolve("mustard", argument="sauce")
