"""Scores of a task structure."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import matthews_corrcoef
from sklearn.utils import Bunch

from .._stats.agreement import match_tasks
from ._inputs import check_cells

__all__ = ["match_columns", "structure_scores"]


def structure_scores(true: ArrayLike, found: ArrayLike, *, match: bool = False) -> Bunch:
    """Compare a found structure with the true one, cell by cell.

    Parameters
    ----------
    true, found : array-like of bool of shape (n_segments, n_tasks) or (n_timesteps, n_tasks)
        Which segments, or steps, each task has.
    match : bool, default=False
        Whether the found tasks have no order of their own, as where tasks were not
        observed: they are assigned to the true ones so that most cells agree. Where
        there are more of one than of the other, the rest are compared with empty ones.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        mcc : float
            Matthews' correlation coefficient: 1 for a perfect answer, 0 for chance and
            where one of the two is constant.
        false_discovery_proportion : float
            Share of the found cells that are wrong, 0 if nothing was found.
        recall : float
            Share of the true cells that were found, 1 if there are none.
        accuracy : float
            Share of all cells that are right.

    Raises
    ------
    ValueError
        If the shapes differ, with ``match`` the numbers of segments, or a value is not a
        finite number.

    Examples
    --------
    >>> from skspecialist.metrics import structure_scores
    >>> scores = structure_scores([[1, 0], [1, 0]], [[1, 0], [1, 1]])
    >>> round(scores.mcc, 2), round(scores.false_discovery_proportion, 2)
    (0.58, 0.33)
    """
    true, found = check_cells(true, "true"), check_cells(found, "found")
    if match and true.ndim == found.ndim == 2 and len(true) == len(found):
        found = match_columns(true, found)
        true = np.pad(true, ((0, 0), (0, found.shape[1] - true.shape[1])))
    if true.shape != found.shape:
        raise ValueError(
            f"true and found must have the same shape, got {true.shape} and {found.shape}."
        )
    hits = (true & found).sum()
    return Bunch(
        mcc=_mcc(true.ravel(), found.ravel()),
        false_discovery_proportion=float(1 - hits / found.sum()) if found.any() else 0.0,
        recall=float(hits / true.sum()) if true.any() else 1.0,
        accuracy=float((true == found).mean()) if true.size else 1.0,
    )


def _mcc(true: np.ndarray, found: np.ndarray) -> float:
    """Return Matthews' coefficient; of constant cells scikit-learn would warn."""
    if true.all() or not true.any() or found.all() or not found.any():
        return 0.0
    return float(matthews_corrcoef(true, found))


def match_columns(reference: ArrayLike, columns: ArrayLike) -> np.ndarray:
    """Return columns in the order in which most cells agree with those of a reference.

    Parameters
    ----------
    reference : array-like of bool of shape (n_segments, n_tasks)
        The structure to match, such as the true one.
    columns : array-like of bool of shape (n_segments, n_found)
        A structure whose tasks have no order of their own.

    Returns
    -------
    columns : ndarray of bool of shape (n_segments, max(n_tasks, n_found))
        The same tasks, each in the place of the one that it is assigned to; empty where
        there is none, and those without a partner last.

    Raises
    ------
    ValueError
        If the two are not tables with as many rows.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import match_columns
    >>> match_columns(np.eye(3, 2, dtype=bool), np.eye(3, dtype=bool)[:, ::-1]).astype(int).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    reference, columns = check_cells(reference, "reference"), check_cells(columns, "columns")
    if not (reference.ndim == columns.ndim == 2 and len(reference) == len(columns)):
        raise ValueError(
            "reference and columns must be tables with as many rows, got shapes "
            f"{reference.shape} and {columns.shape}."
        )
    return match_tasks(reference, columns)
