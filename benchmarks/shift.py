"""Loss of specialists and generalists under distribution shift.

``python benchmarks/shift.py`` measures two things. *Irrelevant* latents or steps move after
training, which costs each method part of its score. And a *spurious* block of features agrees with
the label in training and contradicts it afterwards. Settings and
seeds were fixed beforehand.
"""

import warnings
from functools import partial

import numpy as np
from report import Report, command_line
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import SparseMultiTaskSelector, SparseSpecialistEncoder, SpecialistPipeline
from skspecialist.datasets import make_digit_sequences, make_specialist_latents

SEEDS = range(100, 103)  # of all tables but the last
TASKS = {"odd": lambda d: d % 2, "five or more": lambda d: d >= 5, "eight": lambda d: d == 8}
N_LATENTS, N_DIGITS = 4000, 1000  # rows and sequences to train on, and as many to test on
ENCODER = None  # the default one
N_PIXELS, N_PIXELS_TEST = 1797, 600  # images, those to test on included
BLOCKS = (1, 10)  # features of the block
# Agreement of the block with the label in the second environment.
AGREEMENTS = {"one environment": None, "two, reversed in one": -1, "two, absent in one": 0}
BLOCK_NOISE = 0.6  # a feature of the block alone predicts the label in 95 % of the samples


# Irrelevant latents and steps


def latents(seed):
    """Return train and test data, and functions that shift irrelevant latents of test data.

    8 latents, 3 relevant, mixed by 2 layers.
    """
    n = N_LATENTS
    data = make_specialist_latents(2 * n, n_latents=8, n_layers=2, random_state=seed)
    test, noise = data.latents[n:], np.random.RandomState(seed).normal(size=(n, 8))
    moved = {
        "clean": test,
        "mean": test + 2 * ~data.relevant,
        "noise": test + noise * ~data.relevant,
        "scale": test * np.where(data.relevant, 1, 3),
    }
    X = {name: data.mix(values)[:, None] for name, values in moved.items()}
    return (data.X[:n, None], data.y[:n]), (X, data.y[n:])


def digit_sequences(seed):
    """As ``latents``: 2 tasks on some of 16 steps; steps of no task are moved."""
    train, test = (
        make_digit_sequences(N_DIGITS, n_tasks=2, subset=half, random_state=seed)
        for half in ("train", "test")
    )
    unused = ~test.step_weights.any(axis=1)[:, None]
    noise = np.random.RandomState(seed).uniform(size=test.X.shape)
    X = {
        "clean": test.X,
        "mean": test.X + 0.5 * unused,
        "noise": np.where(unused, noise, test.X),
        "scale": test.X * np.where(unused, 2, 1),
    }
    return (train.X, train.y), (X, test.y)


def compare_losses(report, title, draw, generalist):
    """Add a table of scores, and of the share of the generalist's loss."""
    methods = {
        "generalist + ridge": SpecialistPipeline(strategy="generalist"),
        "generalist + PCA + ridge": SpecialistPipeline(PCA(generalist), strategy="generalist"),
        "specialist, always": SpecialistPipeline(encoder=ENCODER, strategy="specialist"),
        "specialist, auto": SpecialistPipeline(encoder=ENCODER, strategy="best"),
    }
    if draw is digit_sequences:
        for name in ("specialist, always", "specialist, auto"):
            methods[name].set_params(generalist=PCA(generalist))
    scores = {name: [] for name in methods}
    for seed in SEEDS:
        train, (tests, truth) = draw(seed)
        for name, method in methods.items():
            model = clone(method).set_params(random_state=seed).fit(*train)
            scores[name].append([model.score(X, truth) for X in tests.values()])
            print(seed, name, scores[name][-1], flush=True)
    means = {name: np.mean(values, axis=0) for name, values in scores.items()}
    lost = {name: values[0] - values[1:] for name, values in means.items()}
    reference = lost["generalist + ridge"]
    kinds = ("mean", "noise", "scale")
    report.table(
        f"{title}; R2 and what is lost, means over {len(SEEDS)} seeds",
        ["", "clean", *kinds, *[f"lost: {kind}" for kind in kinds], "most, of the first row's"],
        [
            [name, *map(float, means[name]), *map(float, lost[name]), most(lost[name] / reference)]
            for name in methods
        ],
    )


def most(shares):
    """Return the largest share in per cent."""
    return f"{100 * shares.max():.0f} %"


# A spurious block


class AllFeatures(BaseEstimator):
    """An encoder that gives every feature to every task."""

    def fit(self, X, y, step_weights=None):
        """Count."""
        n_tasks = 1 if np.ndim(y) == 1 else np.shape(y)[1]
        self.mask_ = np.ones((n_tasks, X.shape[-1]))
        return self

    def latents(self, X):
        """Return the features."""
        return X


def logistic(**options):
    """Return a logistic regression on standardized features."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000, **options))


def specialist(encoder, **options):
    """Return a pipeline of known latents."""
    return SpecialistPipeline(encoder=encoder, n_timesteps=1, strategy="best", **options)


def block(rng, labels, agreement, n_columns):
    """Return features that agree with binary labels (1), contradict (-1) or ignore them (0)."""
    signal = agreement * (2 * labels - 1)
    return signal[:, None] + BLOCK_NOISE * rng.normal(size=(len(labels), n_columns))


def spurious_accuracy(task, n_columns, elsewhere, method, sees_environments, seed):
    """Return accuracy where the block contradicts, pixels and block features used.

    ``elsewhere`` is the block's agreement in the second environment, that of half of the
    samples, or None for one environment.
    """
    rng = np.random.RandomState(seed)
    pixels, digits = load_digits(return_X_y=True)
    pixels, digits = pixels[:N_PIXELS], digits[:N_PIXELS]
    labels = TASKS[task](digits).astype(int)
    split = train_test_split(pixels, labels, test_size=N_PIXELS_TEST, random_state=seed)
    (pixels, others), (y, truth) = split[:2], split[2:]
    environments = rng.randint(2, size=len(y))
    agreement = np.where(environments > 0, 1 if elsewhere is None else elsewhere, 1)
    X = np.hstack([pixels, block(rng, y, agreement, n_columns)])
    X_test = np.hstack([others, block(rng, truth, -np.ones(len(truth)), n_columns)])
    model = clone(method)
    model.fit(X, y, **({"environments": environments} if sees_environments else {}))
    return model.score(X_test, truth)


def clean_accuracy(task, seed):
    """Return accuracy of a logistic regression without the block."""
    return spurious_accuracy(task, 0, None, logistic(), False, seed)


def spurious_table(report, title, tasks, methods, seeds):
    """Add a table of accuracies: one environment, or two with the block different in one."""
    rows = []
    for task in tasks:
        clean = float(np.mean([clean_accuracy(task, seed) for seed in seeds]))
        for n_columns in BLOCKS:
            for name, (method, sees) in methods.items():
                measure = partial(spurious_accuracy, task, n_columns)
                row = [
                    float(np.mean([measure(e, method, sees, seed) for seed in seeds]))
                    if not (sees and e is None)
                    else ""
                    for e in AGREEMENTS.values()
                ]
                rows.append([task, n_columns, name, *row, clean])
                print(rows[-1], flush=True)
    report.table(title, ["task", "block", "method", *AGREEMENTS, "without block"], rows)


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    max_epochs = 20
    if options.tiny:
        SEEDS, N_LATENTS, N_DIGITS, BLOCKS, max_epochs = SEEDS[:1], 40, 40, (1,), 1
        ENCODER = SparseSpecialistEncoder(2, n_relevant=1, input_noise=0.1, max_epochs=1)
        TASKS, N_PIXELS, N_PIXELS_TEST = {"odd": TASKS["odd"]}, 100, 40
        AGREEMENTS = {"two, reversed in one": -1}
        warnings.simplefilter("ignore")
    report = Report("shift", "Shifts after training", options.output)
    compare_losses(report, "Irrelevant latents move: 8 latents, 3 relevant", latents, 4)
    compare_losses(report, "Unused steps of digit sequences move", digit_sequences, 16)
    sparse = SparseMultiTaskSelector(heads="linear", max_epochs=max_epochs, random_state=0)
    spurious_table(
        report,
        "A block of features agrees with the label in training and contradicts it afterwards; "
        f"accuracy on digits, means over {len(SEEDS)} seeds",
        TASKS,
        {
            "logistic": (logistic(), False),
            "logistic, L1": (logistic(solver="liblinear", l1_ratio=1, C=0.1), False),
            "all features": (specialist(AllFeatures(), random_state=0), False),
            "all features, environments": (specialist(AllFeatures(), random_state=0), True),
        },
        SEEDS,
    )
    spurious_table(
        report,
        "The same with the encoder; one seed",
        ["odd"],
        {
            "encoder": (specialist(sparse, random_state=0), False),
            "encoder, environments": (specialist(sparse, random_state=0), True),
        },
        SEEDS[:1],
    )
    report.save()
