"""Time and memory of TaskLocalizer on long sequences.

``python benchmarks/localizer_speed.py`` fits 100 sequences of 10,000 steps of 64 features (half
have a task, in 250 steps each), and predicts them: learning from whole sequences, and from pieces
of 500 steps. Beside it scikit-learn's ``MLPClassifier`` of the same hidden layers, fitted to the
label of every step, for as many passes as whole sequences get.
"""

import resource
import sys
import time
import warnings

import numpy as np
from report import Report, command_line
from sklearn.metrics import average_precision_score
from sklearn.neural_network import MLPClassifier

from skspecialist import TaskLocalizer

N_SEQUENCES, N_TIMESTEPS, N_FEATURES, N_TASK_STEPS = 100, 10_000, 64, 250
WINDOW, MAX_EPOCHS = 500, None  # None is the default
GIB = 2**30


def draw(rng):
    """Return sequences, and where their task is."""
    X = rng.standard_normal((N_SEQUENCES, N_TIMESTEPS, N_FEATURES), dtype=np.float32)
    steps = np.zeros(X.shape[:2], dtype=bool)
    for i in range(0, N_SEQUENCES, 2):
        steps[i, rng.choice(N_TIMESTEPS, N_TASK_STEPS, replace=False)] = True
    X[steps, :3] += 2.5
    return X, steps


def timed(function, *arguments):
    """Return the result of a call, and its seconds."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def peak():
    """Return the largest memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        N_SEQUENCES, N_TIMESTEPS, N_FEATURES, N_TASK_STEPS = 20, 20, 4, 2
        WINDOW, MAX_EPOCHS = 10, 1
        warnings.simplefilter("ignore")
    report = Report("localizer_speed", "TaskLocalizer on long sequences", options.output)
    X, steps = draw(np.random.default_rng(0))
    X_test, steps_test = draw(np.random.default_rng(1))
    rows, before = [], peak()

    def add(name, fit_s, predict_s, scores):
        """Add a row."""
        precision = average_precision_score(steps_test.ravel(), scores.ravel())
        memory = (peak() - before) / GIB
        rows.append([name, fit_s, steps.size / predict_s / 1e3, float(precision), memory])

    for window, name in ((WINDOW, f"pieces of {WINDOW} steps"), (None, "whole sequences")):
        localizer = TaskLocalizer(window=window, max_epochs=MAX_EPOCHS, random_state=0)
        _, fit_s = timed(localizer.fit, X, steps.any(axis=1))
        scores, predict_s = timed(localizer.predict_proba, X_test)
        add(f"TaskLocalizer (4 scorers), {name}", fit_s, predict_s, scores)
    peer = MLPClassifier((64, 64), batch_size=512, max_iter=len(localizer.history_))
    _, fit_s = timed(peer.fit, X.reshape(-1, N_FEATURES), steps.ravel())
    scores, predict_s = timed(peer.predict_proba, X_test.reshape(-1, N_FEATURES))
    add("MLPClassifier, all step labels", fit_s, predict_s, scores[:, 1])
    report.table(
        f"{N_SEQUENCES} sequences of {N_TIMESTEPS} steps of {N_FEATURES} features",
        ["", "fit s", "thousand steps predicted per second", "average precision", "GiB so far"],
        [[*row[:1], *map(float, row[1:])] for row in rows],
    )
    report.line("Memory is what the process has held at most so far, beside the data.")
    report.save()
