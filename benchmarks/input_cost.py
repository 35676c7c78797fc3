"""Share of a fit's time that is spent on reading and checking its input.

``python benchmarks/input_cost.py`` prints the table and saves it.
"""

import cProfile
import pstats
import time
import warnings

import numpy as np
import pandas as pd
from report import Report, command_line

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskStructureIdentifier

ESTIMATORS = {
    "structure": TaskStructureIdentifier(),
    "encoder": SparseSpecialistEncoder(random_state=0),
    "pipeline": SpecialistPipeline(random_state=0),
}


def share(estimator, X, y):
    """Return seconds of a fit, and the share of them below calls into the reading modules."""

    def reads(function):
        return "/skspecialist/_data/" in function[0]

    estimator.fit(X[:100], y[:100])  # imports what the measured fit needs
    # Seconds of the process, which other processes do not lengthen.
    profile = cProfile.Profile(time.process_time)
    profile.runcall(estimator.fit, X, y)
    stats = pstats.Stats(profile)
    # Calls from a reading module are part of the call that entered it.
    entered = sum(
        cumulative
        for function, (*_, callers) in stats.stats.items()
        if reads(function)
        for caller, (_, _, _, cumulative) in callers.items()
        if not reads(caller)
    )
    return stats.total_tt, 100 * entered / stats.total_tt


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    n_sequences = 100 if options.tiny else 500
    if options.tiny:
        ESTIMATORS = {"structure": ESTIMATORS["structure"]}
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_sequences, 8, 4))
    y = np.column_stack([X[:, 1, 0], np.abs(X[:, 4, 1])]) + 0.1 * rng.normal(size=(n_sequences, 2))
    forms = {
        "arrays": (X, y),
        "tables with names": (
            pd.DataFrame(X.reshape(n_sequences, -1)).add_prefix("x"),
            pd.DataFrame({"amount": y[:, 0], "label": np.where(y[:, 1] > 1, "high", "low")}),
        ),
    }
    warnings.simplefilter("ignore", UserWarning)
    rows = []
    for name, estimator in ESTIMATORS.items():
        for form, (features, tasks) in forms.items():
            if name == "encoder":
                features = features if form == "tables with names" else X.reshape(n_sequences, -1)
            elif form == "tables with names":
                estimator = estimator.set_params(n_timesteps=8)
            seconds, percent = share(estimator, features, tasks)
            rows.append([name, form, round(seconds, 2), f"{percent:.1f}"])
    report = Report("input_cost", "Share of a fit spent on its input", options.output)
    report.table(
        f"{n_sequences} sequences of 8 steps of 4 features, two tasks, with a profiler",
        ["estimator", "input", "seconds", "input, %"],
        rows,
    )
    report.save()
