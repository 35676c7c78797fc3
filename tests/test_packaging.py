"""Consistency of targets, versions and settings between files."""

import re
import tomllib
from collections import defaultdict
from configparser import ConfigParser
from importlib.metadata import metadata
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import skspecialist

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MINIMAL_EXTRAS = ("plot", "test")  # what `make test-min` installs


def makefile_targets():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))


def named_targets(path):
    """Return the targets of every `make a b` in a file: commands, or steps of a workflow."""
    commands = re.findall(
        r"(?:^ *(?:\$ )?|run: |`)make((?: [a-z][a-z-]*)+)",
        path.read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    return {target for command in commands for target in command.split()}


@pytest.mark.parametrize(
    "path",
    [
        *WORKFLOWS,
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "docs" / "install.rst",
    ],
    ids=lambda path: path.name,
)
def test_named_targets_exist(path):
    named = named_targets(path)
    assert named
    assert named <= makefile_targets()


def test_workflows_cover_the_supported_versions_of_python():
    tests = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    tested = re.findall(r'"(3\.\d+)"', re.search(r"python: \[(.+)\]", tests).group(1))
    prefix = "Programming Language :: Python :: 3."
    classifiers = PROJECT["project"]["classifiers"]
    assert tested == [c.rpartition(" ")[2] for c in classifiers if c.startswith(prefix)]
    assert PROJECT["project"]["requires-python"] == f">={tested[0]}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("title", PROJECT["project"]["name"]),
        ("version", skspecialist.__version__),
        ("license", PROJECT["project"]["license"]),
    ],
)
def test_citation_agrees_with_the_package(field, value):
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(rf"^{field}: (.+)$", citation, flags=re.MULTILINE).group(1) == value


def test_a_tool_is_configured_in_one_place():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    in_setup = {re.split(r"[:\-]", section.removeprefix("tool:"))[0] for section in setup}
    assert not in_setup & set(PROJECT["tool"])


def requirements(extras):
    """Yield the requirements of the package and of the extras."""
    optional = PROJECT["project"]["optional-dependencies"]
    lists = [PROJECT["project"]["dependencies"], *(optional[extra] for extra in extras)]
    yield from map(Requirement, chain.from_iterable(lists))


def test_every_extra_asks_for_the_same_lower_bound():
    bounds = defaultdict(set)
    for requirement in requirements(PROJECT["project"]["optional-dependencies"]):
        bounds[requirement.name].add(str(requirement.specifier))
    assert [name for name, found in bounds.items() if len(found) > 1] == []


def test_oldest_versions_are_the_lower_bounds():
    lines = (ROOT / "constraints-min.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.replace("==", ">=") for line in lines if not line.startswith("#")]
    bounds = {f"{r.name}{r.specifier}" for r in requirements(MINIMAL_EXTRAS)}
    assert sorted(pins) == sorted(bounds)


def test_pre_commit_runs_the_versions_of_the_constraints():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    )
    found = dict(re.findall(r"repo: \S+/(\w+)\S*\n +rev: v(\S+)", hooks))
    assert found == {name: pins[name] for name in ("ruff", "codespell")}


def test_addresses_of_the_project_agree():
    urls = PROJECT["project"]["urls"]
    assert urls["Issues"].startswith(urls["Source"])
    assert urls["Changelog"].startswith(urls["Documentation"])
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"repository-code: {urls['Source']}" in citation


def test_types_and_license_are_installed():
    assert (Path(skspecialist.__file__).parent / "py.typed").exists()
    assert metadata("skspecialist")["License-Expression"] == PROJECT["project"]["license"]
