"""Overlap of the latents, or parameters, that several tasks use."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.metrics import pairwise_distances
from sklearn.utils import Bunch

from .._base.sklearn_compat import validate_params
from ._inputs import check_cells

__all__ = ["mask_overlap"]


@validate_params({"mask": ["array-like"]}, prefer_skip_nested_validation=True)
def mask_overlap(mask: ArrayLike) -> Bunch:
    """Count the tasks that use each latent.

    Latents of several tasks are shared, those of one are exclusive to it ("selfish" in [1]_), and
    those of none are unused ("catastrophic" there, where they are weights that merging adds).

    Parameters
    ----------
    mask : array-like of shape (n_tasks, n_latents)
        Use of the latents by the tasks, such as ``mask_`` of an encoder: anything but zero is a
        use.

    Returns
    -------
    overlap : :class:`~sklearn.utils.Bunch`
        n_tasks : ndarray of int of shape (n_latents,)
            Number of tasks that use each latent.
        counts : ndarray of int of shape (n_tasks + 1,)
            Number of latents that no task, one task, ..., all tasks use: the profile of [1]_.
        shared : ndarray of bool of shape (n_latents,)
            Latents of two tasks or more.
        exclusive : ndarray of bool of shape (n_tasks, n_latents)
            Latents that this task alone uses.
        unused : ndarray of bool of shape (n_latents,)
            Latents of no task.
        jaccard : ndarray of shape (n_tasks, n_tasks), float64
            Latents of both tasks as a share of those of either; 1 for two tasks without latents.

    Raises
    ------
    ValueError
        If the mask is not a matrix of finite numbers.

    See Also
    --------
    support_scores : Comparison with a true mask.
    skspecialist.inspection.MaskDisplay : Draws the mask.

    References
    ----------
    .. [1] Wang, Dimitriadis, Ortiz-Jiménez, Fleuret and Frossard, Localizing task information
       for improved model merging and compression, ICML 2024 (TALL-masks).

    Examples
    --------
    >>> from skspecialist.metrics import mask_overlap
    >>> overlap = mask_overlap([[0.9, 0.2, 0.0, 0.0], [0.5, 0.0, 0.0, 0.1]])
    >>> overlap.counts, overlap.shared
    (array([1, 2, 1]), array([ True, False, False, False]))
    """
    used = check_cells(mask, "mask")
    if used.ndim != 2 or not len(used):
        raise ValueError(f"mask must have shape (n_tasks, n_latents), got {used.shape}.")
    n_tasks = used.sum(axis=0)
    both = (
        1 - pairwise_distances(used, metric="jaccard")
        if used.shape[1]
        else np.ones([len(used)] * 2)
    )
    return Bunch(
        n_tasks=n_tasks,
        counts=np.bincount(n_tasks, minlength=len(used) + 1),
        shared=n_tasks > 1,
        exclusive=used & (n_tasks == 1),
        unused=n_tasks == 0,
        jaccard=both,
    )
