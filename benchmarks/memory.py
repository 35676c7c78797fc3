"""Memory and time of long sequences: the structure and the encoder.

``python benchmarks/memory.py`` prints the table and saves it.
"""

import multiprocessing
import resource
import time
import warnings
from concurrent.futures import ProcessPoolExecutor

import numpy as np
from report import Report, command_line

from skspecialist import SparseSpecialistEncoder, TaskStructureIdentifier

LENGTHS = (1000, 3000, 10_000)
N_SEQUENCES, N_FEATURES = 100, 4
ESTIMATORS = {
    "structure": TaskStructureIdentifier(100),
    "encoder and decoder": SparseSpecialistEncoder(
        max_epochs=1, n_relevant=2, decoder="fit", random_state=0
    ),
}


def measure(name, n_timesteps, n_sequences):
    """Return MB of data, MB of memory that a fit adds, and seconds of the processor."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_sequences, n_timesteps, N_FEATURES)).astype(np.float32)
    middle = n_timesteps // 2
    y = np.column_stack([X[:, middle : middle + 5, 0].sum(axis=1), X[:, -5:, 1].sum(axis=1)])
    warnings.simplefilter("ignore", UserWarning)
    # A first fit loads what the second one needs.
    ESTIMATORS[name].fit(X[:, :200], y)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    ESTIMATORS[name].fit(X, y)
    seconds = time.process_time() - start
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return X.nbytes / 2**20, added / 1024, seconds


def alone(function, *args):
    """Return the result of a call in a separate process, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *args).result()


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    run = alone
    if options.tiny:
        LENGTHS, N_SEQUENCES, run = (200,), 40, lambda function, *args: function(*args)
    report = Report("memory", "Memory of long sequences", options.output)
    report.table(
        f"{N_SEQUENCES} sequences of {N_FEATURES} features, two tasks, one epoch",
        ["estimator", "steps", "data, MiB", "memory added, MiB", "seconds"],
        [
            [name, length, *(round(value, 1) for value in run(measure, name, length, N_SEQUENCES))]
            for name in ESTIMATORS
            for length in LENGTHS
        ],
    )
    report.save()
