"""Precision, recall and F1 of a support."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Bunch

from ._inputs import check_cells
from ._structure import match_columns

__all__ = ["support_scores"]


def support_scores(true: ArrayLike, found: ArrayLike, *, match: bool | ArrayLike = False) -> Bunch:
    """Compare a support, such as a mask of tasks and latents, with the true one.

    Parameters
    ----------
    true : array-like of shape (n_tasks, n_true), or any, bool or numeric
        Truth: non-zero is in the support.
    found : array-like of shape (n_tasks, n_found), or as ``true``, bool or numeric
        Support that was found.
    match : bool or array-like of shape (n_true,) of int, default=False
        Which column of ``found`` is compared with each of ``true``. By default the one
        in its place. Learned latents have no order of their own: True matches the columns
        one to one so that F1 is largest, which flatters somewhat; an array, such as the
        ``assignment`` of :func:`mean_correlation_coefficient`, gives the match (-1 for none).
        Columns without a match are compared with empty ones.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        precision : float
            Share of the entries found that are true, 1 if nothing was found.
        recall : float
            Share of the true entries that were found, 1 if there are none.
        f1 : float
            Harmonic mean of the two, 1 if there is nothing to be found nor found.

    Raises
    ------
    ValueError
        If the shapes differ, with ``match`` the numbers of tasks, a value is not a finite
        number, or ``match`` does not name one column or none for each true one.

    Examples
    --------
    >>> from skspecialist.metrics import support_scores
    >>> support_scores([[1, 0], [0, 1]], [[True, True], [False, True]]).recall
    1.0
    >>> support_scores([[1, 0], [0, 1]], [[0, 1], [1, 0]], match=True).f1
    1.0
    """
    truth, support = check_cells(true, "true"), check_cells(found, "found")
    if match is not False and truth.ndim == support.ndim == 2 and len(truth) == len(support):
        if match is True:
            support = match_columns(truth, support)
        else:
            support = _order_columns(support, np.asarray(match), truth.shape[1])
        truth = np.pad(truth, ((0, 0), (0, support.shape[1] - truth.shape[1])))
    if truth.shape != support.shape:
        raise ValueError(
            f"true and found must have the same shape, got {truth.shape} and {support.shape}."
        )
    hits = int((truth & support).sum())
    n_true, n_found = int(truth.sum()), int(support.sum())
    total = n_true + n_found
    return Bunch(
        precision=hits / n_found if n_found else 1.0,
        recall=hits / n_true if n_true else 1.0,
        f1=2 * hits / total if total else 1.0,
    )


def _order_columns(support: np.ndarray, assignment: np.ndarray, n_true: int) -> np.ndarray:
    """Return the columns assigned to the true ones, empty ones for -1, and then the rest."""
    n_found = support.shape[1]
    named = assignment[assignment != -1]
    distinct = len(np.unique(named)) == len(named)
    if (
        assignment.shape != (n_true,)
        or not distinct
        or not np.isin(named, np.arange(n_found)).all()
    ):
        raise ValueError(
            f"match must name for each of the {n_true} true columns a column of its own among "
            f"the {n_found} found, or -1, got {assignment.tolist()}."
        )
    ordered = np.where(assignment >= 0, support[:, assignment], False)
    return np.hstack([ordered, np.delete(support, named, axis=1)])
