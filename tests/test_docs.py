"""Completeness of public docstrings and of the reference; code of all pages."""

import dataclasses
import doctest
import importlib
import inspect
import re
import textwrap
import warnings
from pathlib import Path
from pydoc import locate

import pytest
from numpydoc.validate import validate

from skspecialist.exceptions import SpecialistWarning

ROOT = Path(__file__).parents[1]

# Checks of numpydoc that public docstrings need not pass.
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

# Output of the build, and its templates.
GENERATED = {"gallery", "generated", "_build", "_templates", "sg_execution_times.rst"}
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.rst")]
    if not GENERATED & set(path.relative_to(ROOT).parts)
)
SLOW_PAGES = {
    "README.md",
    "docs/index.rst",
    "docs/user_guide/choosing.rst",
    "docs/user_guide/domains_and_tasks.rst",
    "docs/user_guide/encoder.rst",
    "docs/user_guide/generalist.rst",
    "docs/user_guide/localizer.rst",
    "docs/user_guide/metrics.rst",
    "docs/user_guide/model_selection.rst",
    "docs/user_guide/pipeline.rst",
    "docs/user_guide/saving.rst",
    "docs/user_guide/shift.rst",
    "docs/user_guide/situations.rst",
    "docs/user_guide/structure.rst",
}
# Shapes of arrays that the code of a page computes.
SHAPES = {"docs/user_guide/generalist.rst": {"states": (200, 4, 256)}}

MARKDOWN_BLOCK = re.compile(r"^```python\n(?P<code>.*?)^```", re.DOTALL | re.MULTILINE)
# The caption of a block that cannot run gives the reason.
RST_BLOCK = re.compile(
    r"^(?P<margin> *)\.\. code-block:: python\n"
    r"(?: +:caption: Not run by the tests: (?P<reason>.+)\n| +:.*\n)*\n"
    r"(?P<code>(?:(?P=margin)   .*\n|\n)+)",
    re.MULTILINE,
)
OTHER_CODE = r"^ *\.\. (?:code|sourcecode|doctest|testcode|ipython|plot)::|^(?! *\.\. ).*::$"


def public_names():
    """Yield the names in the API reference."""
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


@pytest.mark.slow  # beside `make docstrings`, which reads the source
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
    "module_name", ["", ".structure.aggregation", ".datasets", ".inspection", ".metrics"]
)
def test_everything_public_is_in_the_reference(module_name):
    module = importlib.import_module(f"skspecialist{module_name}")
    names = {f"{module.__name__}.{name}" for name in module.__all__ if name != "__version__"}
    assert names <= set(public_names())


def with_marks(page):
    marks = [pytest.mark.slow] if page in SLOW_PAGES else []
    return pytest.param(page, marks=marks)


def python_blocks(page):
    """Yield the first line, the code and the reason not to run it of each block of a page."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for match in (MARKDOWN_BLOCK if page.endswith(".md") else RST_BLOCK).finditer(text):
        line = text.count("\n", 0, match.start("code")) + 1
        yield line, textwrap.dedent(match["code"]), match.groupdict().get("reason")


def run_block(page, line, code, names):
    """Run a script, or a doctest with its expected output."""
    if not code.lstrip().startswith(">>>"):
        exec(compile("\n" * (line - 1) + code, ROOT / page, "exec"), names)
        return
    options = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    test = doctest.DocTestParser().get_doctest(code, names, page, page, line - 1)
    doctest.DebugRunner(optionflags=options).run(test, clear_globs=False)
    names.update(test.globs)


@pytest.mark.parametrize("page", [with_marks(page) for page in PAGES if any(python_blocks(page))])
def test_the_code_of_a_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Fits to the small data of a page may warn.
        warnings.simplefilter("ignore", SpecialistWarning)
        for line, code, reason in python_blocks(page):
            if reason is None:
                run_block(page, line, code, names)
    for name, shape in SHAPES.get(page, {}).items():
        assert names[name].shape == shape


NOT_RUN = [
    pytest.param(page, *block, id=f"{page}:{block[0]}")
    for page in PAGES
    for block in python_blocks(page)
    if block[2] is not None
]


@pytest.mark.parametrize(("page", "line", "code", "reason"), NOT_RUN)
def test_code_that_is_not_run_compiles_and_has_a_reason(page, line, code, reason):
    compile(code, page, "exec")
    pytest.skip(f"{page}, line {line}, is not run: {reason}")


@pytest.mark.parametrize("page", PAGES)
def test_all_code_of_a_page_is_in_blocks_that_are_run(page):
    """Other directives and languages may not contain Python."""
    text = (ROOT / page).read_text(encoding="utf-8")
    if page.endswith(".md"):
        languages = re.findall(r"^```(\S+)$", text, flags=re.MULTILINE)
        only_known = 2 * len(languages) == len(re.findall(r"^```", text, flags=re.MULTILINE))
    else:
        languages = re.findall(r"^ *\.\. code-block::(?: (\S+))?$", text, flags=re.MULTILINE)
        only_known = not re.search(OTHER_CODE, text, flags=re.MULTILINE)
    assert only_known
    assert set(languages) <= {"python", "console", "text"}
    assert languages.count("python") == len(list(python_blocks(page)))


def test_the_comparison_names_tests_that_exist():
    page = (ROOT / "docs" / "comparison.rst").read_text(encoding="utf-8")
    named = re.findall(r"``(tests/\S+\.py)(?:::(\w+))?``", page)
    assert named
    for path, test in named:
        code = (ROOT / path).read_text(encoding="utf-8")
        assert not test or f"def {test}(" in code, f"{path}::{test}"


def test_every_claim_of_the_comparison_has_a_test():
    page = (ROOT / "docs" / "comparison.rst").read_text(encoding="utf-8")
    notes = re.findall(r"^\.\. \[#(\w+)\] (.*(?:\n   .*)*)", page, flags=re.MULTILINE)
    assert {name for name, _ in notes} == set(re.findall(r"\[#(\w+)\]_", page))
    assert [name for name, text in notes if "``tests/" not in text] == []
