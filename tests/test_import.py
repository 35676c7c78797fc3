"""What takes seconds to import is imported when it is needed."""

import subprocess
import sys

HEAVY = {"torch", "skorch", "matplotlib", "pandas", "polars", "dask"}
LIGHT = "skspecialist.metrics, skspecialist.datasets, skspecialist.independence, "
LIGHT += "skspecialist.inspection, skspecialist.model_selection, skspecialist.baselines"


def test_nothing_heavy_is_imported_that_scikit_learn_does_without():
    code = f"import sys, sklearn.utils; before = set(sys.modules); import skspecialist, {LIGHT}; "
    code += f"print(*sorted({HEAVY} & (set(sys.modules) - before)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == ""
