"""Demonstration on embedded text: ``python -m skspecialist``.

Fits a :class:`~skspecialist.SpecialistPipeline` with default parameters to cases of twelve
sentences each, and compares the structure found with the truth, and its predictions with those of
other methods on cases of other sentences. Prints tables and writes figures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import Bunch
from skorch import NeuralNetRegressor
from skorch.callbacks import EarlyStopping
from torch import nn

from .datasets._text_cases import load_text_cases
from .inspection._attribution import AttributionDisplay
from .inspection._masks import TaskStructureDisplay
from .pipeline._pipeline import SpecialistPipeline

FACTORS = ("sentiment", "tweet", "newspaper", "film review", "product review", "words", "question")
N_EXPLAINED = 100  # test cases whose contributions are compared with the factors


def main(arguments: list[str] | None = None) -> None:
    """Run the demonstration on the embeddings that are part of the package.

    Parameters
    ----------
    arguments : list of str, default=None
        Command-line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m skspecialist", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="for the figures")
    parser.add_argument("--random-state", type=int, default=0)
    options = parser.parse_args(arguments)
    train, test = (load_text_cases(subset=half) for half in ("train", "test"))
    demonstrate(train, test, options.output, random_state=options.random_state)


def demonstrate(
    train: Bunch,
    test: Bunch,
    folder: Path,
    *,
    texts: Sequence[str] | None = None,
    random_state: int = 0,
) -> None:
    """Fit all methods to training cases, print their scores on test cases, and write figures.

    Parameters
    ----------
    train, test : Bunch
        Cases, as from :func:`skspecialist.datasets.load_text_cases`.
    folder : Path
        Folder of the figures.
    texts : sequence of str, default=None
        All sentences, in the order of ``snippets``. The figure of a case has them instead of
        their sources and sentiments.
    random_state : int, default=0
        Seed of all methods.
    """
    n_cases, n_steps, n_columns = train.data.shape
    show(f"Fitting to {n_cases} cases of {n_steps} sentences, with {n_columns} columns each")
    pipeline = SpecialistPipeline(random_state=random_state)
    unstructured = SpecialistPipeline(
        candidates=["generalist", "pooled", "kernel"], random_state=random_state
    )
    steps = dict(zip(train.target_names, train.step_weights.T, strict=True))
    methods: dict[str, Callable[[], dict[str, Any]]] = {
        "skspecialist": lambda: fit_at_once(pipeline, train, test),
        "the same, without steps": lambda: fit_at_once(unstructured, train, test),
        "ridge, all columns": lambda: fit_each(linear_model, train, test, all_columns),
        "ridge, mean of all sentences": lambda: fit_each(
            linear_model, train, test, lambda X, task: X.mean(axis=1)
        ),
        "boosting, 16 columns each": lambda: fit_each(
            partial(boosting, random_state),
            train,
            test,
            lambda X, task: all_columns(X[..., :16], task),
        ),
        "attention network": lambda: fit_each(
            partial(AttentionNetwork, random_state), train, test, lambda X, task: X
        ),
        "ridge, given the sentences": lambda: fit_each(
            linear_model, train, test, lambda X, task: X[:, steps[task]].mean(axis=1)
        ),
    }
    rows = []
    for name, fit in methods.items():
        start = time.perf_counter()
        predictions = fit()
        seconds = time.perf_counter() - start
        rows.append([name, *score(test, predictions), f"{seconds:.0f}"])
        show(f"  {name}: {seconds:.0f} s")
    print_structure(pipeline, train)
    print_table(
        "Held-out cases: R2, or accuracy of labels",
        ["method", *relevant_tasks(test), "seconds"],
        rows,
    )
    show("")
    for path in write_figures(pipeline, train, test, texts, folder):
        show(f"Wrote {path}")


def fit_at_once(pipeline: SpecialistPipeline, train: Bunch, test: Bunch) -> dict[str, Any]:
    """Fit a pipeline to all tasks; return its predictions of test cases by task."""
    predictions = pipeline.fit(train.data, train.target).predict(test.data)
    return dict(zip(train.target_names, np.asarray(predictions).T, strict=True))


def fit_each(
    make: Callable[[bool], Any],
    train: Bunch,
    test: Bunch,
    columns: Callable[[np.ndarray, str], np.ndarray],
) -> dict[str, Any]:
    """Fit a model per task that depends on some step; return its predictions of test cases."""
    predictions = {}
    for task, values in relevant_tasks(train).items():
        model = make(is_label(values)).fit(columns(train.data, task), values)
        predictions[task] = model.predict(columns(test.data, task))
    return predictions


def relevant_tasks(cases: Bunch) -> dict[str, np.ndarray]:
    """Return the values of the tasks that depend on some step: floats, or strings of labels."""
    columns = zip(cases.target_names, cases.target.T, cases.step_weights.any(axis=0), strict=True)
    return {name: np.array(values.tolist()) for name, values, is_relevant in columns if is_relevant}


def all_columns(X: np.ndarray, task: str) -> np.ndarray:
    """Return the columns of all steps side by side."""
    return X.reshape(len(X), -1)


def is_label(values: np.ndarray) -> bool:
    """Return whether a task has class labels."""
    return values.dtype.kind == "U"


def linear_model(label: bool) -> Any:
    """Return a linear model whose regularization is chosen by cross-validation."""
    head = (
        GridSearchCV(LogisticRegression(max_iter=300), {"C": [1e-4, 1e-3, 1e-2, 0.1, 1]}, cv=3)
        if label
        else RidgeCV(np.logspace(-1, 6, 15))
    )
    return make_pipeline(StandardScaler(), head)


def boosting(random_state: int, label: bool) -> Any:
    """Return gradient boosting of trees."""
    kind = HistGradientBoostingClassifier if label else HistGradientBoostingRegressor
    return kind(random_state=random_state)


class Attention(nn.Module):
    """Weights of the steps from their content and position, and a linear head."""

    def __init__(self, n_steps: int, n_columns: int, n_hidden: int = 64) -> None:
        super().__init__()
        self.embed = nn.Linear(n_columns, n_hidden)
        self.position = nn.Parameter(0.1 * torch.randn(n_steps, n_hidden))
        self.weigh = nn.Sequential(nn.Linear(n_hidden, n_hidden), nn.Tanh(), nn.Linear(n_hidden, 1))
        self.head = nn.Linear(n_hidden, 1)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return one number per sequence."""
        hidden = torch.relu(self.embed(X) + self.position)
        return self.head((self.weigh(hidden).softmax(dim=1) * hidden).sum(dim=1))


class AttentionNetwork:
    """Attention over the steps, trained with early stopping; labels are 0 and 1."""

    module: type[nn.Module] = Attention

    def __init__(self, random_state: int, label: bool) -> None:
        self.random_state, self.label = random_state, label

    def fit(self, X: np.ndarray, y: np.ndarray) -> AttentionNetwork:
        """Standardize columns and values, and train the network."""
        self.classes: np.ndarray | None = None
        if self.label:
            self.classes, y = np.unique(y, return_inverse=True)
        self.mean, self.scale = X.mean(axis=(0, 1)), X.std(axis=(0, 1))
        self.scale[self.scale < 1e-6 * self.scale.max()] = 1  # constant columns stay finite
        self.y_mean, self.y_scale = float(np.mean(y)), float(np.std(y))
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            self.net = NeuralNetRegressor(
                self.module,
                module__n_steps=X.shape[1],
                module__n_columns=X.shape[2],
                optimizer=torch.optim.AdamW,
                optimizer__weight_decay=1e-2,
                lr=1e-3,
                max_epochs=100,
                iterator_train__shuffle=True,
                callbacks=[EarlyStopping(patience=10, load_best=True)],
                verbose=0,
            )
            target = ((y - self.y_mean) / self.y_scale).astype(np.float32)[:, None]
            self.net.fit(self._standardized(X), target)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        """Return amounts or labels."""
        values = self.net.predict(self._standardized(X))[:, 0] * self.y_scale + self.y_mean
        return values if self.classes is None else self.classes[(values > 0.5).astype(int)]

    def _standardized(self, X: np.ndarray) -> np.ndarray:
        return ((X - self.mean) / self.scale).astype(np.float32)


def score(cases: Bunch, predictions: dict[str, Any]) -> list[float]:
    """Return accuracy for labels, and R2 for amounts, of each task that depends on some step."""
    return [
        accuracy_score(values, predictions[task].astype(str))
        if is_label(values)
        else r2_score(values, predictions[task].astype(float))
        for task, values in relevant_tasks(cases).items()
    ]


def show(line: str) -> None:
    """Print a line without buffering."""
    print(line, flush=True)


def print_table(title: str, header: list[str], rows: list[list[Any]]) -> None:
    """Print a table; floats get three digits."""
    cells = [header] + [
        [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    show("\n".join(["", title, lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))


def print_structure(pipeline: SpecialistPipeline, data: Bunch) -> None:
    """Print the steps found for each task, beside the true ones."""
    print_table(
        "Steps of each task, found among 12",
        ["task", "found", "true"],
        [
            [name, *(" ".join(map(str, np.flatnonzero(steps))) or "none" for steps in pair)]
            for name, *pair in zip(
                data.target_names, pipeline.step_mask_.T, data.step_weights.T, strict=True
            )
        ],
    )


def write_figures(
    pipeline: SpecialistPipeline,
    train: Bunch,
    test: Bunch,
    texts: Sequence[str] | None,
    folder: Path,
) -> list[Path]:
    """Write steps, contributions in one case, and their meaning as pictures; return the paths.

    The case is the one with the lowest predicted satisfaction.
    """
    folder.mkdir(parents=True, exist_ok=True)
    case = int(np.argmin(pipeline.predict(test.data)[:, 0].astype(float)))
    names = [
        f"{step}: " + (f"{source}, {rating:+.1f}" if texts is None else texts[snippet])
        for step, (source, rating, snippet) in enumerate(
            zip(test.source[case], test.sentiment[case], test.snippets[case], strict=True)
        )
    ]
    figures: dict[str, Any] = {
        "steps": TaskStructureDisplay(
            pipeline.step_mask_, true_step_tasks=train.step_weights, task_names=train.target_names
        ).plot(),
        "case": AttributionDisplay.from_estimator(
            pipeline, test.data[case:][:1], part_names=names, task_names=test.target_names
        ),
    }
    paths = [folder / f"{name}.png" for name in figures]
    for path, display in zip(paths, figures.values(), strict=True):
        display.figure_.savefig(path, dpi=150, bbox_inches="tight")
    path = folder / "meaning.png"
    draw_meaning(pipeline, test).savefig(path, dpi=150, bbox_inches="tight")
    return [*paths, path]


def draw_meaning(pipeline: SpecialistPipeline, test: Bunch) -> Any:
    """Correlate the contributions of the steps of each task with properties of the sentences."""
    import matplotlib.pyplot as plt

    explanation = pipeline.explain(test.data[:N_EXPLAINED], n_permutations=1)
    factors = [test[name] if name in test else test.source == name for name in FACTORS]
    tasks = [i for i, steps in enumerate(pipeline.step_mask_.T) if steps.any()]
    table = np.array(
        [
            [
                np.corrcoef(
                    explanation.contributions[i][:, steps, -1].ravel(),
                    factor[:N_EXPLAINED, steps].ravel(),
                )[0, 1]
                for factor in factors
            ]
            for i in tasks
            for steps in [pipeline.step_mask_[:, i]]
        ]
    )
    figure, ax = plt.subplots(
        figsize=(1.8 + 0.8 * len(FACTORS), 1.6 + 0.4 * len(tasks)), layout="constrained"
    )
    ax.imshow(table, cmap="RdBu", vmin=-1, vmax=1, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        color = "white" if abs(value) > 0.6 else "black"
        ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
    ax.set_xticks(range(len(FACTORS)), [name.replace(" ", "\n") for name in FACTORS])
    ax.set_yticks(range(len(tasks)), [test.target_names[i] for i in tasks])
    ax.set_title("Correlation of a step's contribution with properties of its sentence", loc="left")
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return figure


if __name__ == "__main__":
    main()
