"""Scores of masks, supports and structures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LinearRegression
from sklearn.metrics import matthews_corrcoef, pairwise_distances, r2_score
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.utils import Bunch

from .._base.sklearn_compat import validate_params
from .._data.validation import check_same_length
from .._stats.agreement import match_tasks
from ._inputs import check_cells, check_latents

__all__ = ["consistency", "mask_overlap", "match_columns", "structure_scores", "support_scores"]


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
    truth, support = _matched_cells(true, found, match)
    hits = int((truth & support).sum())
    n_true, n_found = int(truth.sum()), int(support.sum())
    total = n_true + n_found
    return Bunch(
        precision=hits / n_found if n_found else 1.0,
        recall=hits / n_true if n_true else 1.0,
        f1=2 * hits / total if total else 1.0,
    )


def _matched_cells(
    true: ArrayLike, found: ArrayLike, match: bool | ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    """Return cells of the same shape, with empty columns for those without a match."""
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
    return truth, support


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
    true, found = _matched_cells(true, found, bool(match))
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


@validate_params(
    {"latents": ["array-like"], "random_state": ["random_state"]},
    prefer_skip_nested_validation=True,
)
def consistency(
    latents: Sequence[ArrayLike], *, random_state: int | np.random.RandomState | None = 0
) -> Bunch:
    """Return how well the latents of each fit predict those of each other, linearly.

    The R2 of linear regression both ways over all pairs, as the consistency of [1]_, but
    on samples that the regression did not see, so that many latents are not consistent
    by overfitting. No truth is needed. Fits that agree may agree on something wrong.

    Parameters
    ----------
    latents : sequence of array-like of shape (n_samples, n_latents)
        Latents of the same samples by two fits or more, as with several values of
        ``random_state``; preferably of samples that no fit saw. The number of latents
        may differ.
    random_state : int, RandomState instance or None, default=0
        Which samples form the five folds.

    Returns
    -------
    scores : :class:`~sklearn.utils.Bunch`
        score : float
            Mean over all pairs of different fits, both ways.
        pairwise : ndarray of shape (n_fits, n_fits), float64
            Entry (i, j) is the mean R2 over the latents of fit j, predicted from those of
            fit i: 1 if each is a linear function of them, about 0 if they carry no
            information on it. Where (i, j) is high and (j, i) is low, fit j left something out.

    Raises
    ------
    ValueError
        If there are fewer than two fits, an array is not finite, has a constant column,
        or no more samples than columns, or the arrays differ in length.

    References
    ----------
    .. [1] Schneider, Lee and Mathis, Learnable latent embeddings for joint behavioral
       and neural analysis, Nature 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.metrics import consistency
    >>> first = np.random.RandomState(0).standard_normal((100, 2))
    >>> consistency([first, first @ [[1, 2], [0, 1]], first[:, :1]]).pairwise.round(1)
    array([[1. , 1. , 1. ],
           [1. , 1. , 1. ],
           [0.5, 0.9, 1. ]])
    """
    if len(latents) < 2:
        raise ValueError(f"latents has {len(latents)} fits; two or more can be compared.")
    named = {f"latents[{index}]": fit for index, fit in enumerate(latents)}
    fits = [check_latents(fit, name) for name, fit in named.items()]
    check_same_length(**named)
    folds = KFold(5, shuffle=True, random_state=random_state)
    splits = list(folds.split(fits[0]))
    targets = np.hstack(fits)
    starts = np.cumsum([0] + [fit.shape[1] for fit in fits[:-1]])
    pairwise = np.empty((len(fits), len(fits)))
    for index, fit in enumerate(fits):
        predicted = cross_val_predict(LinearRegression(), fit, targets, cv=splits)
        r2 = r2_score(targets, predicted, multioutput="raw_values")
        pairwise[index] = [part.mean() for part in np.split(r2, starts[1:])]
    between = ~np.eye(len(fits), dtype=bool)
    return Bunch(score=float(pairwise[between].mean()), pairwise=pairwise)


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
