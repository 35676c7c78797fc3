"""Registry of mistakes, and the form that every refusal has."""

import re
import traceback
from pathlib import Path

import pytest

import skspecialist

OWN = Path(skspecialist.__file__).parent
# The modules in which scikit-learn checks input, with messages of its own.
CHECKS = re.compile(r"sklearn/utils/(validation|_param_validation|_array_api)\.py")


class Refusals:
    """Mistakes in arguments, one test per function and argument."""

    def __init__(self):
        self.cases = []

    def add(self, where, argument, call, mistakes):
        """Add the mistakes in one argument: values, or a mapping of names to values."""
        if not isinstance(mistakes, dict):
            mistakes = {repr(value): value for value in mistakes}
        self.cases.append(pytest.param(call, mistakes, argument, id=f"{where}({argument})"))


def blames(error, argument):
    """Return whether an error names an argument."""
    return re.search(rf"(?<![A-Za-z0-9]){argument}(?![A-Za-z0-9])", str(error)) is not None


def check_refusals(call, mistakes, argument):
    """Check that each mistake raises an error of this library that names the argument."""
    wrong = {name: problem_of(call, value, argument) for name, value in mistakes.items()}
    wrong = {name: problem for name, problem in wrong.items() if problem is not None}
    assert not wrong, "\n".join(f"{name}: {problem}" for name, problem in wrong.items())


def problem_of(call, mistake, argument):
    """Return how the refusal of a mistake falls short, None where it does not."""
    try:
        answer = call(mistake)
    except (ValueError, TypeError) as raised:
        error = raised
    except Exception as raised:
        return f"raised {raised!r}"
    else:
        return f"accepted: {answer}"
    if not blames(error, argument):
        return f"not blamed: {error}"
    raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
    if not (Path(raised_in).is_relative_to(OWN) or CHECKS.search(raised_in)):
        return f"raised in {raised_in}: {error}"
    while error is not None:
        foreign = type(error).__module__.partition(".")[0] in ("torch", "numpy")
        if foreign and not isinstance(error, Warning):
            return f"error of another library: {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None
