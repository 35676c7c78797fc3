"""Prediction from specialists on real images, against the generalist.

``python benchmarks/pipeline.py`` fits the pipeline to digit sequences and compares, on
sequences of images that were not fitted on, with the same estimators on all of the
generalist and with a ridge on pixels. Settings and seeds were fixed beforehand.
"""

import time

import numpy as np
from report import Report, command_line
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline
from skspecialist.datasets import make_digit_sequences
from skspecialist.metrics import structure_scores

SEEDS = range(100, 105)
N_SEQUENCES = 1000
ENCODER = None  # the default one


def measure(seed):
    """Return a row of the table."""
    train, test = (
        make_digit_sequences(N_SEQUENCES, subset=half, random_state=seed)
        for half in ("train", "test")
    )
    pipeline = SpecialistPipeline(PCA(16), encoder=ENCODER, strategy="best", random_state=seed)
    start = time.perf_counter()
    pipeline.fit(train.X, train.y)
    seconds = time.perf_counter() - start
    generalist = clone(pipeline).set_params(strategy="generalist").fit(train.X, train.y)
    ridge = RidgeCV(np.logspace(-2, 5, 15)).fit(train.X.reshape(N_SEQUENCES, -1), train.y)
    return [
        seed,
        structure_scores(train.step_weights > 0, pipeline.step_mask_).mcc,
        0 if pipeline.encoder_ is None else int(pipeline.encoder_.support_.sum()),
        f"{pipeline.use_specialist_.sum()} of {len(pipeline.use_specialist_)}",
        pipeline.score(test.X, test.y),
        float(pipeline.n_features_used_.mean()),
        generalist.score(test.X, test.y),
        generalist.n_generalist_features_,
        ridge.score(test.X.reshape(N_SEQUENCES, -1), test.y),
        seconds,
    ]


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        SEEDS, N_SEQUENCES = SEEDS[:1], 40
        ENCODER = SparseSpecialistEncoder(2, n_relevant=1, input_noise=0.1, max_epochs=1)
    report = Report("pipeline", "Specialist pipeline on digit sequences", options.output)
    rows = []
    for seed in SEEDS:
        rows.append(measure(seed))
        print(rows[-1], flush=True)
    means = [float(np.mean(column)) for column in zip(*[r[4:] for r in rows], strict=True)]
    rows.append(["mean", float(np.mean([r[1] for r in rows])), "", "", *means])
    report.table(
        f"{N_SEQUENCES:,} sequences of 16 steps, 4 tasks, generalist PCA(16); held-out R2, mean "
        "over tasks",
        [
            "seed",
            "structure MCC",
            "latents",
            "specialized",
            "specialist R2",
            "features per task",
            "generalist R2",
            "features",
            "pixels R2",
            "seconds",
        ],
        rows,
    )
    report.save()
