"""The documentation: public docstrings are complete, and the README's code runs."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path
from pydoc import locate

import pytest
from numpydoc.validate import validate

ROOT = Path(__file__).parents[1]

# What numpydoc asks for and a public docstring here need not have.
IGNORED = {
    "ES01",  # an extended summary
    "EX01",  # an example
    "GL01",  # a summary on the line after the quotes
    "GL02",
    "GL03",
    "RT02",  # scikit-learn names what is returned
    "RT03",
    "RT04",  # a capital letter, as in "float64"
    "SA01",  # related objects, and descriptions of them
    "SA04",
    "SS05",  # plural nouns are taken for verbs
}


def public_names():
    """Yield what the API reference lists."""
    for line in (ROOT / "docs" / "api.rst").read_text(encoding="utf-8").splitlines():
        if match := re.match(r".. currentmodule:: (.+)", line):
            module_name = match.group(1)
        elif match := re.fullmatch(r"   (\w+)", line):
            yield f"{module_name}.{match.group(1)}"


def public_objects():
    """Yield the public names, and the public methods that their classes define."""
    for path in public_names():
        yield path
        thing = locate(path)
        if not inspect.isclass(thing):
            continue
        for method, function in vars(thing).items():
            overrides = any(hasattr(base, method) for base in thing.__mro__[1:])
            if inspect.isroutine(function) and not method.startswith("_") and not overrides:
                yield f"{path}.{method}"


@pytest.mark.parametrize("path", list(public_objects()))
def test_public_docstring_is_complete(path):
    ignored = IGNORED
    if dataclasses.is_dataclass(locate(path)):
        ignored = IGNORED | {"PR01"}  # the fields are documented as attributes
    errors = [f"{code}: {text}" for code, text in validate(path)["errors"] if code not in ignored]
    assert not errors


@pytest.mark.parametrize("path", list(public_names()))
def test_reference_lists_what_can_be_imported(path):
    module_name, _, name = path.rpartition(".")
    assert name in importlib.import_module(module_name).__all__


@pytest.mark.parametrize(
    "module_name", ["", ".aggregation", ".datasets", ".inspection", ".metrics"]
)
def test_everything_public_is_in_the_reference(module_name):
    module = importlib.import_module(f"skspecialist{module_name}")
    names = {f"{module.__name__}.{name}" for name in module.__all__ if name != "__version__"}
    assert names <= set(public_names())


def readme_blocks():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", readme, flags=re.DOTALL | re.MULTILINE)


def test_the_code_of_the_readme_runs():
    blocks = readme_blocks()
    assert blocks
    exec(compile("\n".join(blocks), "README.md", "exec"), {"__name__": "readme"})
