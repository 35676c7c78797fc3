"""Features whose relation to a task is the same in all environments.

Two score tests [1]_ [2]_ detect slopes that differ between environments; neither fits
anything to a single environment, and both keep their level under heteroscedastic noise [3]_.

- The *task given the features*: linear, or logistic for class labels. This relation is the
  same wherever the features are stable, however their distribution moves, so that it tests
  the stability of the set as a whole [4]_. It does not attribute an instability to a feature:
  next to a spurious feature that holds in one environment only, the slopes of stable ones
  differ too. Each interaction is tested alone, so that copies of a spurious feature do not
  hide each other.
- A *feature given the task*: this relation moves with the distribution of a stable feature,
  but not with the other features.

As long as the first test finds a difference, the feature with most evidence in both is
dropped. Half of the level is spent on the features that the second test suspects: they are
few, and a block of spurious features that explains a label perfectly leaves little for the
first test to find.

References
----------
.. [1] G. C. Chow, "Tests of equality between sets of coefficients in two linear
   regressions", Econometrica 28, 1960.
.. [2] J. M. Wooldridge, "On the application of robust, regression-based diagnostics to models
   of conditional means and conditional variances", Journal of Econometrics 47, 1991.
.. [3] H. White, "A heteroskedasticity-consistent covariance matrix estimator and a direct test
   for heteroskedasticity", Econometrica 48, 1980.
.. [4] J. Peters, P. Bühlmann and N. Meinshausen, "Causal inference by using invariant
   prediction: identification and confidence intervals", Journal of the Royal Statistical
   Society B 78, 2016.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import chi2
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from ._sequences import LabeledSequences

__all__ = ["stable_columns", "stable_features"]

# Weight of one sample for standardized features: negligible beside hundreds of samples, but
# the normal equations are always solvable.
RIDGE = 1.0


def stable_columns(
    columns: list[np.ndarray], features: np.ndarray, data: LabeledSequences
) -> list[np.ndarray]:
    """Return the columns of each task whose relation to it is the same in all environments."""
    assert data.environments is not None
    values, groups = data.tasks.to_columns(data.y)
    found = []
    for part, own, rows in zip(columns, groups, data.known, strict=True):
        if len(part):
            blocks = features[np.ix_(rows, part)], values[np.ix_(rows, own)]
            part = part[stable_features(*blocks, data.environments[rows])]
        found.append(part)
    return found


def stable_features(
    features: np.ndarray, values: np.ndarray, environments: np.ndarray, *, alpha: float = 0.05
) -> np.ndarray:
    """Return which features have the same relation to a task in all environments.

    Parameters
    ----------
    features : ndarray of shape (n_samples, n_features), float
        Features of one task.
    values : ndarray of shape (n_samples, n_columns), float
        The task: a continuous column, or indicators of all classes but one.
    environments : ndarray of shape (n_samples,)
        Labels of at least two environments.
    alpha : float, default=0.05
        Probability of dropping any feature if all are stable, at most.

    Returns
    -------
    stable : ndarray of shape (n_features,), bool
        False for features that were dropped.

    Raises
    ------
    ValueError
        If there is one environment only.
    """
    labels = np.unique(environments)
    if len(labels) < 2:
        raise ValueError(
            f"environments has the one value {labels[0]!r}, but needs at least two: stability is "
            "a comparison of environments."
        )
    # Centered indicators of all environments but one; df slopes may differ for each feature.
    contrasts = (environments[:, None] == labels[1:]).astype(float)
    contrasts -= contrasts.mean(axis=0)
    features = StandardScaler().fit_transform(features)
    values = values[:, np.ptp(values, axis=0) > 0]
    df = contrasts.shape[1] * values.shape[1]
    features_moved = _changes_given_task(features, values, contrasts)
    suspected = features_moved > chi2.isf(alpha / features.shape[1], df)
    # Backward elimination, at the level alpha / 2 over suspected and over other features.
    kept = np.arange(features.shape[1])
    while len(kept):
        task_moved = _changes_given_features(features[:, kept], values, contrasts)
        n_tests = np.where(suspected[kept], suspected[kept].sum(), len(kept))
        if np.all(task_moved < chi2.isf(alpha / 2 / n_tests, df)):
            break
        kept = np.delete(kept, np.argmax(task_moved + features_moved[kept]))
    return np.isin(np.arange(features.shape[1]), kept)


def _changes_given_features(
    features: np.ndarray, values: np.ndarray, contrasts: np.ndarray
) -> np.ndarray:
    """Return the statistics (n_features,) of a change of the task's slope on each feature."""
    base = np.hstack([contrasts, features])
    interactions = contrasts[:, :, None] * features[:, None, :]
    scores = []
    for column in values.T:
        residuals, remove_base = _regress(base, column, binary=bool(np.isin(column, (0, 1)).all()))
        scores.append(remove_base(interactions) * residuals[:, :, None, None])
    return _chi2_statistics(np.concatenate(scores, axis=2))


def _changes_given_task(
    features: np.ndarray, values: np.ndarray, contrasts: np.ndarray
) -> np.ndarray:
    """Return the statistics (n_features,) of a change of each feature's slope on the task."""
    interactions = (contrasts[:, :, None] * values[:, None, :]).reshape(len(values), -1)
    residuals, remove_base = _regress(np.hstack([contrasts, values]), features, binary=False)
    return _chi2_statistics(remove_base(interactions)[:, :, None] * residuals[:, :, None, :])


def _regress(
    base: np.ndarray, response: np.ndarray, *, binary: bool
) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """Return residuals (2, n_samples, ...), and a projection of columns off the fit.

    The second residuals are enlarged by the degrees of freedom of the fit (White's HC1), since
    variances are underestimated where samples are few. Enlarging each by its own leverage
    (HC2) has little power where classes separate.
    """
    if binary:
        model = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky").fit(base, response)
        fitted = model.predict_proba(base)[:, 1]
        weights = fitted * (1 - fitted)
    else:
        fitted = Ridge(alpha=RIDGE).fit(base, response).predict(base)
        weights = np.ones(len(base))
    design = np.column_stack([np.ones(len(base)), base])
    weighted = design * weights[:, None]
    gram = design.T @ weighted
    inverse = np.linalg.inv(gram + RIDGE * np.eye(len(gram)))
    # One minus the average leverage, the trace of the hat matrix over the number of samples.
    residual_share = 1 - np.sum(inverse * gram) / len(base)
    residuals = np.stack([response - fitted, (response - fitted) / np.sqrt(residual_share)])

    def remove_base(columns: np.ndarray) -> np.ndarray:
        return columns - np.tensordot(
            design, inverse @ np.tensordot(weighted.T, columns, 1).reshape(len(inverse), -1), 1
        ).reshape(columns.shape)

    return residuals, remove_base


def _chi2_statistics(scores: np.ndarray) -> np.ndarray:
    """Return the chi-squared statistics (n_tests,) of scores (2, n_samples, df, n_tests).

    Each is s' V^+ s for the sum s of the scores and V the sum of their outer products, which
    is consistent under heteroscedastic noise (Wooldridge 1991).
    """
    sums = scores[0].sum(axis=0).T
    by_test = scores[1].transpose(2, 1, 0)
    covariances = np.matmul(by_test, by_test.transpose(0, 2, 1))
    inverses = np.linalg.pinv(covariances, hermitian=True)
    return np.asarray(np.einsum("ka,kab,kb->k", sums, inverses, sums))
