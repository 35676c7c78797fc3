"""Share of a fit's time that is spent on reading and checking its input.

``python benchmarks/input_cost.py`` prints the table and saves it.
"""

import signal
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


def share(estimator, X, y, seconds):
    """Return CPU seconds of a fit, and the share of them below calls into the reading modules.

    Samples of the stack are weighted by the CPU time between them: a profiler would slow the
    reading, of many short calls, more than the rest, of few long ones.
    """
    estimator.fit(X[:100], y[:100])  # imports what the measured fits need
    last, reading, n_fits = [time.process_time()], [0.0], 0

    def sample(signum, frame):
        now = time.process_time()
        elapsed, last[0] = now - last[0], now
        while frame is not None and "/skspecialist/_data/" not in frame.f_code.co_filename:
            frame = frame.f_back
        reading[0] += elapsed * (frame is not None)

    previous = signal.signal(signal.SIGPROF, sample)
    start = last[0] = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    while not n_fits or time.process_time() - start < seconds:
        estimator.fit(X, y)
        n_fits += 1
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.signal(signal.SIGPROF, previous)
    total = time.process_time() - start
    return total / n_fits, 100 * reading[0] / total


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
            seconds, percent = share(estimator, features, tasks, 0.1 if options.tiny else 10)
            rows.append([name, form, round(seconds, 3), f"{percent:.1f}"])
    report = Report("input_cost", "Share of a fit spent on its input", options.output)
    report.table(
        f"{n_sequences} sequences of 8 steps of 4 features, two tasks, by samples of the stack",
        ["estimator", "input", "seconds", "input, %"],
        rows,
    )
    report.save()
