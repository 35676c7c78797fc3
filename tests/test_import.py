"""Lazy imports of slow libraries, and the names that the package shows."""

import subprocess
import sys

import pytest

import skspecialist
from skspecialist import independence

HEAVY = {"torch", "skorch", "matplotlib", "pandas", "polars", "dask", "hmmlearn", "ruptures"}
LIGHT = "skspecialist.metrics, skspecialist.datasets, skspecialist.independence, "
LIGHT += "skspecialist.inspection, skspecialist.model_selection, skspecialist.baselines"
BY_NAME = "skspecialist.independence.BaseIndependenceTest.resolve('cmi', argument='test'); "


@pytest.mark.slow  # a second of imports
def test_nothing_heavy_is_imported_that_scikit_learn_does_without():
    code = f"import sys, sklearn.utils; before = set(sys.modules); import skspecialist, {LIGHT}; "
    code += BY_NAME + f"print(*sorted({HEAVY} & (set(sys.modules) - before)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""


def test_dir_shows_the_public_names():
    assert dir(skspecialist) == sorted(skspecialist.__all__)
    assert dir(independence) == sorted(independence.__all__)
    for name in skspecialist.__all__:
        assert hasattr(skspecialist, name)
