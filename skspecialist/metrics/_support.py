"""A support against the truth."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["support_scores"]


def support_scores(support_true: Any, support: Any) -> dict[str, float]:
    """Compare a support with the true one.

    Parameters
    ----------
    support_true : array-like of any shape, bool or numeric
        Truth: non-zero is in the support. A vector, or a mask (tasks x latents).
    support : array-like of the same shape, bool or numeric
        What was found.

    Returns
    -------
    scores : dict of str to float
        ``"precision"``, ``"recall"`` and ``"f1"``. Nothing found is a precision of 1,
        nothing to be found a recall of 1.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> from skspecialist.metrics import support_scores
    >>> support_scores([[1, 0], [0, 1]], [[True, True], [False, True]])["recall"]
    1.0
    """
    truth, found = np.asarray(support_true) != 0, np.asarray(support) != 0
    if truth.shape != found.shape:
        raise ValueError(
            f"support_true and support must have the same shape, got {truth.shape} and "
            f"{found.shape}."
        )
    hits = int((truth & found).sum())
    n_true, n_found = int(truth.sum()), int(found.sum())
    total = n_true + n_found
    return {
        "precision": hits / n_found if n_found else 1.0,
        "recall": hits / n_true if n_true else 1.0,
        "f1": 2 * hits / total if total else 1.0,
    }
