"""Selection of the sparsest model within one standard error of the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count, takewhile
from numbers import Real
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from sklearn.pipeline import Pipeline

from ._base.sklearn_compat import validate_params
from ._stats.model_comparison import tolerated_loss

__all__ = ["neg_n_features_used", "one_standard_error_rule"]

N_FEATURES = "neg_n_features_used"
# The latents of the tasks first, then the steps, then all latents.
ORDER: dict[str, Literal["smallest", "largest"]] = {
    "sparsity": "largest",
    "tolerance": "largest",
    "n_relevant": "smallest",
    "structure__alpha": "smallest",
    "min_effect_size": "largest",
    "n_components": "smallest",
}
SIGNS = {"smallest": 1.0, "largest": -1.0}


@validate_params(
    {"cv_results": [Mapping], "metric": [str, None], "order": [Mapping, None]},
    prefer_skip_nested_validation=True,
)
def one_standard_error_rule(
    cv_results: Mapping[str, Any],
    *,
    metric: str | None = None,
    order: Mapping[str, Literal["smallest", "largest"]] | None = None,
) -> int:
    """Return the index of the sparsest candidate that is about as good as the best.

    As good is a mean test score that is below the best by no more than the standard error
    of the best over the splits [1]_, its own uncertainty. Pass it
    as ``refit`` to :class:`~sklearn.model_selection.GridSearchCV` or
    :class:`~sklearn.model_selection.RandomizedSearchCV`, with keywords through
    :func:`functools.partial`. The halving searches do not call ``refit``; call this
    function with their ``cv_results_``.

    Parameters
    ----------
    cv_results : dict of str to array-like of shape (n_candidates,)
        The ``cv_results_`` of a search. Of a halving search, only the candidates of the
        last iteration count, which had the most resources.
    metric : str, default=None
        The metric to judge by, where there are several. None is the only one that is not
        "neg_n_features_used", or else "score".
    order : dict of str to {"smallest", "largest"}, default=None
        Which value of a parameter is the sparsest; the first parameter counts, the next
        ones where those before are equal. A name stands for all parameters that end with it:
        "alpha", or "structure__alpha" where an estimator has an alpha too. None is the number
        of features, where :func:`neg_n_features_used` measured it as a metric of that name,
        and otherwise the largest ``sparsity``, then the largest ``tolerance``, the smallest
        ``n_relevant``, the smallest ``structure__alpha``, the largest ``min_effect_size``
        and the smallest ``n_components``.

    Returns
    -------
    best_index : int
        Of candidates that are equally sparse, the one with the best mean score; of those,
        the first.

    Raises
    ------
    ValueError
        If every candidate failed, or none of ``order`` and the metrics defines
        the sparsest.

    See Also
    --------
    neg_n_features_used : Measures sparsity in place of parameters.

    Notes
    -----
    Candidates without a finite score, because a fit failed, are left out. With one split
    there is no standard error, and only a candidate that equals the best is as good.
    A parameter that a candidate does not set, or sets to None, counts as its least sparse
    value.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen and C. Stone, Classification and Regression
       Trees, Wadsworth 1984.

    Examples
    --------
    >>> from functools import partial
    >>> from sklearn.datasets import make_regression
    >>> from sklearn.linear_model import Lasso
    >>> from sklearn.model_selection import GridSearchCV
    >>> from skspecialist.model_selection import one_standard_error_rule
    >>> X, y = make_regression(100, 20, n_informative=3, noise=20.0, random_state=0)
    >>> sparsest = partial(one_standard_error_rule, order={"alpha": "largest"})
    >>> grid = {"alpha": [0.1, 0.3, 1.0, 3.0, 10.0]}
    >>> GridSearchCV(Lasso(), grid).fit(X, y).best_params_
    {'alpha': 1.0}
    >>> GridSearchCV(Lasso(), grid, refit=sparsest).fit(X, y).best_params_
    {'alpha': 3.0}
    """
    metric = _only_metric(cv_results) if metric is None else metric
    params = _candidates(cv_results)
    if metric not in _metrics(cv_results):
        raise ValueError(
            f"metric={metric!r} is not in cv_results, whose metrics are "
            f"{sorted(_metrics(cv_results))}."
        )
    means = _column(cv_results, f"mean_test_{metric}")
    density = _density(cv_results, params, order)
    comparable = np.isfinite(means) & ~np.isnan(density).any(axis=1)
    if "iter" in cv_results:
        comparable &= np.asarray(cv_results["iter"]) == np.max(cv_results["iter"])
    if not comparable.any():
        raise ValueError(
            f"No candidate of cv_results has a finite {metric!r}: every fit failed. Search with "
            "error_score='raise' to see why."
        )
    best = means[comparable].max()
    scores = _scores(cv_results, metric)[comparable & (means == best)]
    error = min(map(tolerated_loss, scores))
    as_good = np.flatnonzero(comparable & (means >= best - error))
    return int(min(as_good, key=lambda i: (*density[i], -means[i])))


def neg_n_features_used(estimator: Any, X: ArrayLike, y: Any = None) -> float:
    """Score a fitted pipeline by how few features its tasks are predicted from.

    A scorer for ``scoring`` of a search or of
    :func:`~sklearn.model_selection.cross_validate`. Negative, as scorers of scikit-learn
    are larger the better.

    Parameters
    ----------
    estimator : estimator
        Fitted :class:`~skspecialist.SpecialistPipeline`, or a
        :class:`~sklearn.pipeline.Pipeline` or a search with it as the last step or the best
        estimator. Any estimator with the attribute ``n_features_used_`` will do.
    X : array-like
        Not used.
    y : array-like, default=None
        Not used.

    Returns
    -------
    score : float
        Minus the mean over tasks of the number of features used.

    Raises
    ------
    TypeError
        If the estimator does not know how many features it uses.

    See Also
    --------
    one_standard_error_rule : Chooses the fewest features where measured so.

    Examples
    --------
    >>> from sklearn.linear_model import Ridge
    >>> from skspecialist import SpecialistPipeline
    >>> from skspecialist.datasets import make_collider_sequences
    >>> from skspecialist.model_selection import neg_n_features_used
    >>> data = make_collider_sequences(100, n_timesteps=6, n_tasks=2, random_state=0)
    >>> pipeline = SpecialistPipeline(strategy="generalist", estimator=Ridge())
    >>> neg_n_features_used(pipeline.fit(data.X, data.y), data.X)
    -6.0
    """
    if hasattr(estimator, "best_estimator_"):
        return neg_n_features_used(estimator.best_estimator_, X)
    if isinstance(estimator, Pipeline):
        return neg_n_features_used(estimator[-1], X)
    if not hasattr(estimator, "n_features_used_"):
        raise TypeError(
            "neg_n_features_used needs a fitted estimator with the attribute n_features_used_, "
            f"such as SpecialistPipeline; got {type(estimator).__name__}."
        )
    return -float(np.mean(estimator.n_features_used_))


def _only_metric(cv_results: Mapping[str, Any]) -> str:
    metrics = _metrics(cv_results)
    metrics.discard(N_FEATURES)
    if len(metrics) == 1:
        return metrics.pop()
    if "score" in metrics:
        return "score"
    raise ValueError(
        f"Set metric to the one to judge by, out of those of cv_results, {sorted(metrics)}."
    )


def _candidates(cv_results: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    params = cv_results.get("params", ())
    if not isinstance(params, Sequence) or not params or not isinstance(params[0], Mapping):
        raise ValueError(
            "cv_results must be those of a search: its 'params' must list the parameters of each "
            f"candidate, got {params!r}."
        )
    return params


def _metrics(cv_results: Mapping[str, Any]) -> set[str]:
    prefix = "mean_test_"
    return {name.removeprefix(prefix) for name in cv_results if name.startswith(prefix)}


def _column(cv_results: Mapping[str, Any], name: str) -> np.ndarray:
    n_candidates = len(cv_results["params"])
    try:
        return np.asarray(cv_results[name], dtype=float).reshape(n_candidates)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"cv_results must have in {name!r} a number for each of its {n_candidates} candidates, "
            f"got {cv_results[name]!r}."
        ) from error


def _scores(cv_results: Mapping[str, Any], metric: str) -> np.ndarray:
    """Return the scores of the candidates by split, (n_candidates, n_splits)."""
    names = (f"split{k}_test_{metric}" for k in count())
    splits = [_column(cv_results, name) for name in takewhile(cv_results.__contains__, names)]
    return np.column_stack(splits)


def _density(
    cv_results: Mapping[str, Any],
    params: Sequence[Mapping[str, Any]],
    order: Mapping[str, str] | None,
) -> np.ndarray:
    """Return numbers, a row for each candidate, that are smaller the sparser it is."""
    if order is None and f"mean_test_{N_FEATURES}" in cv_results:
        return -_column(cv_results, f"mean_test_{N_FEATURES}")[:, np.newaxis]
    names = sorted(set().union(*params))
    columns = []
    for suffix, sparsest in (ORDER if order is None else order).items():
        matches = [name for name in names if f"__{name}".endswith(f"__{suffix}")]
        if order is not None and not matches:
            raise ValueError(f"order names {suffix!r}, but the parameters searched are {names}.")
        columns += [_density_of(name, params, sparsest) for name in matches]
    if not columns:
        raise ValueError(
            f"None of the parameters {names} is known to order candidates by sparsity. Name one "
            "and its sparsest value, such as order={'alpha': 'largest'}, or measure sparsity: add "
            f"'{N_FEATURES}' to the metrics."
        )
    return np.array(columns).T


def _density_of(name: str, params: Sequence[Mapping[str, Any]], sparsest: str) -> list[float]:
    if sparsest not in SIGNS:
        raise ValueError(
            f"order must say of {name!r} whether its sparsest value is 'smallest' or 'largest'; "
            f"got {sparsest!r}."
        )
    values = [candidate.get(name) for candidate in params]
    for value in values:
        if not isinstance(value, Real | None):
            raise ValueError(f"{name}={value!r} is no number: it cannot order candidates.")
    return [np.inf if value is None else SIGNS[sparsest] * float(value) for value in values]
