"""Every benchmark runs on one tiny cell."""

import re
import runpy
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[2] / "benchmarks"
# Packages of the extra `bench`, beside those of the tests.
NEEDS = {
    "board": ["pandas"],
    "encoder": ["matplotlib"],
    "independence": ["causallearn"],
    "localizer": ["hmmlearn"],
    "routing": ["pandas"],
    "scale": ["distributed"],
    "sweeps": ["matplotlib", "ruptures"],
    "task_groups": ["pandas"],
    "feature_table": ["causallearn", "skops"],
}
# Their tiny cells take seconds, too.
SLOW = {
    "attribution",
    "device",
    "encoder",
    "encoder_sizes",
    "encoder_speed",
    "encoder_support",
    "feature_groups",
    "feature_table",
    "generalists",
    "localizer",
    "memory",
    "monitor",
    "nuisance",
    "pipeline",
    "prune",
    "reduction",
    "routing",
    "representations",
    "scale",
    "selection",
    "shift",
    "spaces",
    "specialize",
    "stream",
    "structure_levels",
    "sweeps",
    "task_groups",
    "within_sequence",
}
SCRIPTS = [
    pytest.param(path.stem, marks=[pytest.mark.slow] if path.stem in SLOW else [])
    for path in sorted(FOLDER.glob("*.py"))
    if 'if __name__ == "__main__"' in path.read_text()
]


@pytest.mark.parametrize("name", SCRIPTS)
def test_tiny_cell(name, monkeypatch, tmp_path):
    missing = [package for package in NEEDS.get(name, []) if not find_spec(package)]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    kept = set((FOLDER / "results").iterdir())
    monkeypatch.syspath_prepend(FOLDER)
    monkeypatch.setattr(sys, "argv", [name, "--tiny", "--output", str(tmp_path)])
    n_threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fits to so few samples
        try:
            runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")
        finally:
            torch.set_num_threads(n_threads)
    assert (tmp_path / f"{name}.txt").read_text().count("\n") > 3
    assert set((FOLDER / "results").iterdir()) == kept


def test_public_names_only():
    private = re.compile(r"skspecialist[\w.]*\._(?!_main__)")
    assert [path.name for path in FOLDER.glob("*.py") if private.search(path.read_text())] == []


def test_store_fills_what_is_missing(monkeypatch, tmp_path):
    pytest.importorskip("pandas")
    monkeypatch.syspath_prepend(FOLDER)
    store_class = runpy.run_path(str(FOLDER / "store.py"))["Store"]
    store = store_class(tmp_path / "cells.csv", ["data", "seed", "score", "error"], 2)
    measured = []

    def measure(data, seed):
        measured.append((data, seed))
        return {"data": data, "seed": seed, "score": seed / 3, "error": "E" if seed > 1 else None}

    cells = [("a", 0), ("a", 1), ("b", 2)]
    store.fill(measure, cells[:2])
    rows = store.fill(measure, cells)
    assert measured == cells
    assert rows["score"].tolist() == [0.0, 0.33333, 0.66667]
    assert store.missing(cells) == [("b", 2)]  # it failed
