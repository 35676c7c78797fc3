"""Time and memory of TaskLocalizer on long sequences.

``python benchmarks/localizer_speed.py`` fits 100 sequences of 10,000 steps of 64 features (half
have a task, in 50 steps each), and predicts them. Beside it scikit-learn's ``MLPClassifier`` of
the same hidden layers, which is told the label of every step, for as many passes.
"""

import resource
import sys
import time

import numpy as np
from report import Report
from sklearn.metrics import average_precision_score
from sklearn.neural_network import MLPClassifier

from skspecialist import TaskLocalizer

N_SEQUENCES, N_TIMESTEPS, N_FEATURES, N_TASK_STEPS = 100, 10_000, 64, 50
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
    """Return what a function returns, and the seconds that it takes."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def peak():
    """Return the largest memory of this process so far, in bytes."""
    unit = 1 if sys.platform == "darwin" else 2**10
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    report = Report("localizer_speed", "TaskLocalizer on long sequences")
    X, steps = draw(np.random.default_rng(0))
    X_test, steps_test = draw(np.random.default_rng(1))
    before = peak()
    localizer, fit_s = timed(TaskLocalizer(random_state=0).fit, X, steps.any(axis=1))
    found, predict_s = timed(localizer.predict_proba, X_test)
    memory = (peak() - before) / GIB
    peer = MLPClassifier((64, 64), batch_size=512, max_iter=len(localizer.history_))
    flat = X.reshape(-1, N_FEATURES)
    _, peer_fit_s = timed(peer.fit, flat, steps.ravel())
    peer_found, peer_predict_s = timed(peer.predict_proba, X_test.reshape(-1, N_FEATURES))
    rows = [
        [name, fit, fit / peer_fit_s, steps.size / predict / 1e3, score]
        for name, fit, predict, score in (
            (
                "TaskLocalizer (4 scorers)",
                fit_s,
                predict_s,
                average_precision_score(steps_test.ravel(), found.ravel()),
            ),
            (
                "MLPClassifier, told every step",
                peer_fit_s,
                peer_predict_s,
                average_precision_score(steps_test.ravel(), peer_found[:, 1]),
            ),
        )
    ]
    report.table(
        f"{N_SEQUENCES} sequences of {N_TIMESTEPS} steps of {N_FEATURES} features",
        ["", "fit s", "over the peer's", "thousand steps predicted a second", "average precision"],
        [[name, *map(float, values)] for name, *values in rows],
    )
    report.line(f"Memory of TaskLocalizer beside the data, at most: {memory:.2f} GiB")
    report.save()
