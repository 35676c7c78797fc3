"""What the tests of bad input share: a registry of mistakes, and what a refusal must be."""

import re
import traceback
from pathlib import Path

import pytest

import skspecialist

OWN = Path(skspecialist.__file__).parent
# Where scikit-learn checks input, in words of its own.
CHECKS = re.compile(r"sklearn/utils/(validation|_param_validation|_array_api)\.py")


class Refusals:
    """Mistakes, each of which the named argument must be blamed for."""

    def __init__(self):
        self.cases = []

    def add(self, where, argument, call, mistakes):
        """Add the mistakes of one argument: values, or a mapping of names to values."""
        if not isinstance(mistakes, dict):
            mistakes = {repr(value): value for value in mistakes}
        self.cases += [
            pytest.param(call, value, argument, id=f"{where}({argument}={without_address(name)})")
            for name, value in mistakes.items()
        ]


def without_address(name):
    """Return the name of a value that is the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", name)


def blames(error, argument):
    """Return whether an error names an argument."""
    return re.search(rf"(?<![A-Za-z0-9]){argument}(?![A-Za-z0-9])", str(error)) is not None


def check_refusal(call, mistake, argument):
    """Check that an error says what is wrong with the argument, in words of the library's."""
    with pytest.raises((ValueError, TypeError)) as refusal:
        print("accepted:", call(mistake))
    error = refusal.value
    assert blames(error, argument), error
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    assert Path(raised_in).is_relative_to(OWN) or CHECKS.search(raised_in), raised_in
    while error is not None:
        foreign = type(error).__module__.partition(".")[0] in ("torch", "numpy")
        assert not foreign or isinstance(error, Warning), error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
