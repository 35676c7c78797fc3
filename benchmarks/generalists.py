"""The pipeline with its defaults beside simple peers, on sequences of real generalists.

Pictures: the code of a convolutional autoencoder that was trained on a third of scikit-learn's
handwritten digits; sequences for training and testing consist of the other thirds. Text: the cases
that come with the package. ``--speech FILE`` adds words, as ``examples/real_speech.py`` embeds and
saves them; their tasks are other ones than in the example. All settings were fixed beforehand.
``python benchmarks/generalists.py`` prints the tables and saves them.
"""

import time
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from nuisance import read_words
from report import Report, command_line
from scipy.stats import sem
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.utils import Bunch
from skorch import NeuralNetRegressor
from torch import nn

from skspecialist import SpecialistPipeline
from skspecialist.__main__ import (
    AttentionNetwork,
    all_columns,
    boosting,
    fit_at_once,
    fit_each,
    linear_model,
    relevant_tasks,
)
from skspecialist.datasets import load_text_cases


class Recurrent(nn.Module):
    """Gated recurrent unit with a linear head on its last state."""

    def __init__(self, n_steps, n_columns, n_hidden=64):
        super().__init__()
        self.recurrent = nn.GRU(n_columns, n_hidden, batch_first=True)
        self.head = nn.Linear(n_hidden, 1)

    def forward(self, X):
        """Return one number per sequence."""
        return self.head(self.recurrent(X)[1][0])


class RecurrentNetwork(AttentionNetwork):
    """The recurrent network, trained as the attention network is."""

    module = Recurrent


class Autoencoder(nn.Module):
    """Convolutions to a code of 32 numbers, and back."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(512, 32),
        )  # fmt: skip
        self.decode = nn.Sequential(nn.Linear(32, 256), nn.ReLU(), nn.Linear(256, 64))

    def forward(self, X):
        """Return the picture, as one row of pixels."""
        return self.decode(self.encode(X))


def pictures(seed, n_epochs=60, n_sequences=600):
    """Return sequences of ten codes of digits: their sum, whether one is high, and their ink."""
    X, digits = load_digits(return_X_y=True)
    X = (X / 16).astype(np.float32)
    rng = np.random.default_rng(seed)
    thirds = np.array_split(rng.permutation(len(X)), 3)
    torch.manual_seed(seed)
    net = NeuralNetRegressor(
        Autoencoder, optimizer=torch.optim.AdamW, lr=3e-3, max_epochs=n_epochs, train_split=None,
        iterator_train__shuffle=True, verbose=0,
    )  # fmt: skip
    net.fit(X[thirds[0]].reshape(-1, 1, 8, 8), X[thirds[0]])
    with torch.no_grad():
        codes = net.module_.encode(torch.from_numpy(X.reshape(-1, 1, 8, 8))).numpy()
    ink = (X.mean(axis=1) - X.mean()) / X.mean(axis=1).std()
    steps = {"sum": [1, 4, 6], "high": [2, 5], "ink": [0, 3, 8], "noise": []}

    def draw(third):
        shown = rng.choice(third, size=(n_sequences, 10))
        return codes[shown], [
            digits[shown][:, steps["sum"]].sum(axis=1) + rng.normal(size=n_sequences),
            np.where((digits[shown][:, steps["high"]] > 6).any(axis=1), "yes", "no"),
            ink[shown][:, steps["ink"]].mean(axis=1) + rng.normal(scale=0.3, size=n_sequences),
            rng.normal(size=n_sequences),
        ]

    return [bunch(*draw(third), steps) for third in thirds[1:]]


def words(path, seed, n_sequences=800):
    """Return sequences of nine words of one voice: their lengths, and whether digits rise."""
    states, place = read_words(path)
    rng = np.random.default_rng(seed)
    even = np.arange(place.shape[1]) % 2 == 0
    steps = {"even": [0, 3, 7], "low digit": [2, 5], "last": [8], "noise": []}

    def draw(half):
        voice = rng.integers(len(place), size=n_sequences)
        word = rng.integers(place.shape[1], size=(n_sequences, 9))
        take = rng.choice(half, size=(n_sequences, 9))
        return states[place[voice[:, None], word, take]], [
            even[word][:, steps["even"]].sum(axis=1) + rng.normal(scale=0.3, size=n_sequences),
            np.where((word[:, steps["low digit"]] < 4).any(axis=1), "yes", "no"),
            word[:, 8] % 5 + rng.normal(scale=0.5, size=n_sequences),
            rng.normal(size=n_sequences),
        ]

    return [bunch(*draw(half), steps) for half in ([0, 1, 2, 3], [4, 5])]


def bunch(data, columns, steps):
    """Return sequences and tasks in the layout of the text cases."""
    weights = np.zeros((data.shape[1], len(steps)), dtype=bool)
    for task, used in enumerate(steps.values()):
        weights[used, task] = True
    target = np.array(columns, dtype=object).T
    return Bunch(data=data, target=target, target_names=list(steps), step_weights=weights)


def support_vectors(label):
    """Return a support vector machine with scikit-learn's defaults."""
    return make_pipeline(StandardScaler(), SVC() if label else SVR())


def fits(train, test, pipeline, seed):
    """Return functions that fit a method and return its predictions of test sequences by task."""
    steps = dict(zip(train.target_names, train.step_weights.T, strict=True))
    each = {
        "ridge, all columns": (linear_model, all_columns),
        "ridge, mean of all steps": (linear_model, lambda X, task: X.mean(axis=1)),
        "boosting, 16 columns a step": (
            partial(boosting, seed),
            lambda X, task: all_columns(X[..., :16], task),
        ),
        "SVM, all columns": (support_vectors, all_columns),
        "GRU": (partial(RecurrentNetwork, seed), lambda X, task: X),
        "attention": (partial(AttentionNetwork, seed), lambda X, task: X),
        "ridge, given the steps": (linear_model, lambda X, task: X[:, steps[task]].mean(axis=1)),
    }
    peers = {
        name: partial(fit_each, make, train, test, columns)
        for name, (make, columns) in each.items()
    }
    return {"ours": partial(fit_at_once, pipeline, train, test), **peers}


def losses(truth, predicted):
    """Return the loss of each sequence: 1 minus its mean is R2, or the accuracy."""
    if truth.dtype.kind == "U":
        return (truth != predicted.astype(str)).astype(float)
    return np.square(truth - predicted.astype(float)) / truth.var()


def main():
    """Run everything."""
    parser = command_line(__doc__)
    parser.add_argument("--speech", type=Path, help="embeddings of words")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    text = [load_text_cases(subset=half) for half in ("train", "test")]
    worlds = {"pictures": pictures(300), "text": text}
    if options.speech:
        worlds["speech"] = words(options.speech, 300)
    if options.tiny:
        worlds = {"pictures": pictures(0, n_epochs=1, n_sequences=40)}
    report = Report("generalists", "Real generalists, held-out sequences", options.output)
    gains = []
    for name, (train, test) in worlds.items():
        scores, compared = {}, {}
        pipeline = SpecialistPipeline(random_state=0)
        for method, fit in fits(train, test, pipeline, seed=0).items():
            start = time.process_time()
            found = fit()
            seconds = time.process_time() - start
            loss = {task: losses(y, found[task]) for task, y in relevant_tasks(test).items()}
            scores[method], compared[method] = [1 - np.mean(each) for each in loss.values()], loss
            scores[method] = [float(score) for score in scores[method]] + [f"{seconds:.1f}"]
        steps, true = pipeline.step_mask_, train.step_weights > 0
        report.table(
            f"{name}: R2, or accuracy of labels; {(steps & true).sum()} of {true.sum()} steps "
            f"found, {(steps & ~true).sum()} false",
            ["", *relevant_tasks(test), "CPU s"],
            [[method, *line] for method, line in scores.items()],
        )
        for task, ours in compared.pop("ours").items():
            best = min(compared, key=lambda method, task=task: compared[method][task].mean())
            gain = compared[best][task] - ours
            gains.append([f"{name}, {task}", float(gain.mean()), float(sem(gain)), best])
    report.table(
        "Ours less the best of the others, with its standard error over sequences",
        ["", "gain", "SE", "best of the others"],
        gains,
    )
    report.save()


if __name__ == "__main__":
    main()
