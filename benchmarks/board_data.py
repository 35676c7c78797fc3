"""Data sets of the board: each fold with what to learn from and what to predict.

``DATASETS`` maps a name to its number of folds and a function that draws one. Generated data
are drawn separately for each fold, with seeds fixed beforehand; real tables are split, stratified
by labels. No fold has more than 1,500 training sequences. The hydraulic test rig (UCI
447) is among them if the environment variable SKSPECIALIST_DATA names a directory that has
``hydraulic/hydraulic.npz``: arrays ``temperature`` (cycles, seconds, sensors), ``condition``
(cycles, tasks) and ``condition_names``.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_linnerud, load_wine
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold, StratifiedKFold

from skspecialist.datasets import (
    make_collider_sequences,
    make_digit_sequences,
    make_specialist_latents,
)

FIRST_SEED = 500
N_DRAWN = 1000  # generated sequences to learn from, and as many to predict


@dataclass(frozen=True)
class Fold:
    """One fold of a data set.

    Attributes
    ----------
    X, X_test : ndarray of shape (n_sequences, n_timesteps, n_features)
        Sequences to learn from and to predict.
    y, y_test : DataFrame of shape (n_sequences, n_tasks)
        Their tasks: floats are continuous, integers class labels.
    generalist : transformer or None, default=None
        Represents single steps.
    truth : pair of list of ndarray or None, default=None
        Features that each task depends on, one array per task: of ``X`` and of ``X_test``.
    groups : ndarray of shape (n_sequences,) or None, default=None
        Blocks of time of ``X`` that a split must not cut.
    """

    X: np.ndarray
    y: pd.DataFrame
    X_test: np.ndarray
    y_test: pd.DataFrame
    generalist: Any = None
    truth: tuple[list[np.ndarray], list[np.ndarray]] | None = None
    groups: np.ndarray | None = None


@dataclass(frozen=True)
class DataSet:
    """Number of folds, function that draws one, and whether the ground truth is known."""

    n_folds: int
    draw: Callable[[int], Fold]
    known: bool


DATASETS: dict[str, DataSet] = {}


def dataset(name, n_folds, *, known=False):
    """Register a function that takes the number of a fold and returns it."""

    def register(draw):
        DATASETS[name] = DataSet(n_folds, draw, known)
        return draw

    return register


def tasks(values):
    """Return the tasks as a table."""
    return pd.DataFrame(values, columns=[f"task{i}" for i in range(values.shape[1])])


# Generated, with known truth


@dataset("digit sequences", 3, known=True)
def digit_sequences(fold):
    """16 images, 4 continuous tasks of their digits; other images to predict; PCA(16)."""
    parts = [
        make_digit_sequences(N_DRAWN, subset=subset, random_state=FIRST_SEED + fold)
        for subset in ("train", "test")
    ]
    X, y = [part.X for part in parts], [tasks(part.y) for part in parts]
    truth = [
        [np.eye(10)[part.digits[:, steps]].reshape(N_DRAWN, -1) for steps in part.step_weights.T]
        for part in parts
    ]
    return Fold(X[0], y[0], X[1], y[1], generalist=PCA(16), truth=tuple(truth))


@dataset("collider sequences", 3, known=True)
def collider_sequences(fold):
    """20 steps of 4 features; 2 tasks are tanh of a sum over some steps, 2 whether it is high."""
    data = make_collider_sequences(2 * N_DRAWN, n_features=4, random_state=FIRST_SEED + fold)
    amounts, labels = np.tanh(data.y[:, :2] / data.y[:, :2].std(axis=0)), data.y[:, 2:] > 0
    y = pd.concat([tasks(amounts), tasks(labels.astype(int)).add_prefix("is_")], axis=1)
    truth = [data.X[:, steps].reshape(2 * N_DRAWN, -1) for steps in data.step_weights.T]
    return _halves(data.X, y, truth)


@dataset("specialist latents", 3, known=True)
def specialist_latents(fold):
    """Rows of 20 features, 10 latents mixed; 10 continuous tasks, each of 2 of 5 latents."""
    sizes = {"n_latents": 10, "n_relevant": 5, "n_tasks": 10, "n_features": 20}
    data = make_specialist_latents(2 * N_DRAWN, **sizes, random_state=FIRST_SEED + fold)
    truth = [data.latents[:, used] for used in data.mask]
    return _halves(data.X[:, None], tasks(data.y), truth)


def _halves(X, y, truth):
    train, test = slice(N_DRAWN), slice(N_DRAWN, None)
    known = [features[train] for features in truth], [features[test] for features in truth]
    return Fold(X[train], y[train], X[test], y[test].reset_index(drop=True), truth=known)


# Real tables: sequences of one step


def _split(X, y, rows, groups=None):
    train, test = rows
    return Fold(
        X[train],
        y.iloc[train].reset_index(drop=True),
        X[test],
        y.iloc[test].reset_index(drop=True),
        groups=None if groups is None else groups[train],
    )


def _one_against_rest(X, labels, n_folds, fold):
    y = tasks((labels[:, None] == np.unique(labels)).astype(int))
    rows = list(StratifiedKFold(n_folds, shuffle=True, random_state=0).split(X, labels))
    return _split(X[:, None], y, rows[fold])


@dataset("linnerud", 5)
def linnerud(fold):
    """20 rows of 3 features, 3 continuous tasks."""
    X, y = load_linnerud(return_X_y=True)
    rows = list(KFold(5, shuffle=True, random_state=0).split(X))
    return _split(X[:, None], tasks(y), rows[fold])


@dataset("breast cancer", 5)
def breast_cancer(fold):
    """569 rows of 30 features, one task of two classes."""
    X, labels = load_breast_cancer(return_X_y=True)
    rows = list(StratifiedKFold(5, shuffle=True, random_state=0).split(X, labels))
    return _split(X[:, None], tasks(labels[:, None]), rows[fold])


@dataset("wine", 5)
def wine(fold):
    """178 rows of 13 features, 3 classes, each against the rest."""
    return _one_against_rest(*load_wine(return_X_y=True), 5, fold)


@dataset("digits", 3)
def digits(fold):
    """1,797 images of 64 pixels, 10 classes, each against the rest."""
    return _one_against_rest(*load_digits(return_X_y=True), 3, fold)


# Real sequences

DATA = os.environ.get("SKSPECIALIST_DATA")

if DATA:

    @dataset("hydraulic", 5)
    def hydraulic(fold):
        """Every second cycle of a test rig: 60 seconds, 4 temperatures; 5 conditions.

        Conditions change slowly: folds are blocks of time, and so are the groups.
        """
        data = np.load(Path(DATA) / "hydraulic" / "hydraulic.npz")
        X = data["temperature"][::2].astype(float)
        y = pd.DataFrame(data["condition"][::2].astype(int), columns=data["condition_names"])
        groups = np.arange(len(X)) * 25 // len(X)
        return _split(X, y, list(KFold(5).split(X))[fold], groups)


# Public tables that no part of the package was tuned on: table of statsmodels, its tasks, and
# columns that would give them away. Each column is a step.
N_ROWS = 400
TABLES = {
    "anes96": (["vote", "PID"], []),
    "cancer": (["cancer"], []),
    "ccard": (["AVGEXP"], []),
    "danish_data": (["lrm"], ["period"]),
    "elnino": (["DEC"], []),
    "engel": (["foodexp"], []),
    "fair": (["rate_marriage", "affairs"], []),
    "fertility": (["2010"], []),
    "grunfeld": (["invest"], []),
    "heart": (["survival"], []),
    "interest_inflation": (["R"], []),
    "macrodata": (["unemp", "infl"], ["realint"]),
    "modechoice": (["choice"], ["individual"]),
    "randhie": (["mdvis"], []),
    "star98": (["NABOVE"], ["NBELOW"]),
    "statecrime": (["murder"], ["violent"]),
    "strikes": (["duration"], []),
    "sunspots": (["SUNACTIVITY"], []),
    "co2": (["co2"], []),
    "iris": (["target"], []),
}
LABELS = {"vote", "choice", "target"}


def public_table(name):
    """Return the columns and the tasks of a table, at most 400 rows of it.

    Series are predicted from the 12 values before; rows with missing values are left out.
    """
    targets, left_out = TABLES[name]
    if name == "iris":
        table = load_iris(as_frame=True).frame
    else:
        table = getattr(import_module("statsmodels.datasets"), name).load_pandas().data
    if name in ("sunspots", "co2"):
        series = table[targets[0]].ffill()
        before = {f"lag{lag}": series.shift(lag) for lag in range(12, 0, -1)}
        table = pd.DataFrame({**before, targets[0]: series})
    if name == "fertility":
        table = table[[str(year) for year in range(1990, 2011, 2)]]
    numbers = table.select_dtypes("number").drop(columns=left_out, errors="ignore").dropna()
    if len(numbers) > N_ROWS:
        numbers = numbers.sample(N_ROWS, random_state=0)
    y = {name: numbers[name].astype(int if name in LABELS else float) for name in targets}
    return numbers.drop(columns=targets).to_numpy(float), pd.DataFrame(y).reset_index(drop=True)
