"""Which time steps belong to which task, for aligned sequences."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Self

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions

from .aggregation import BaseAggregation
from .aligned import AlignedStructureMixin
from .criteria import Evidence, SegmentedData, collider_criterion, direct_criterion
from .fitting import all_or_nothing
from .independence import BaseIndependenceTest, Moments
from .likelihood import GaussianGain
from .segments import make_segments
from .targets import TaskTargets

__all__ = ["TaskStructureIdentifier"]


class TaskStructureIdentifier(AlignedStructureMixin, BaseEstimator):
    """Find which time steps of aligned sequences belong to which task.

    Time is cut into segments of equal length. Step ``t`` means the same in every
    sequence, and the tasks of a sequence are observed in ``y``. A segment is relevant
    to a task if an action taken in it influences the task. Two criteria find it with
    tests of conditional independence, both valid under the Markov property and
    faithfulness:

    - ``"direct"``: the segment and the task are dependent given the *band*, the states
      just before and after the segment's evidence. One test for every segment and task.
    - ``"collider"``: two segments are both relevant to a task iff they are dependent
      given the band of both *and the task*: a task is a collider, and conditioning on
      it opens the path between the actions that point into it. Theorem 1 of [1]_. It
      needs the square of the number of tests, rests on weaker, second-order
      dependence, and cannot see a task with one segment; it is the choice where the
      task's own value is not comparable between sequences but its presence is.

    Parameters
    ----------
    segment_length : int, default=2
        Steps in a segment; two are the fewest that separate a segment's own actions
        from the action before it. The last segment has what remains.
    criterion : {"auto", "direct", "collider"}, default="auto"
        "auto" is "direct", the stronger of the two wherever ``y`` is given.
    evidence : {"interior", "segment", "representative"}, default="interior"
        Which steps speak for a segment.

        - "interior": all but the first, whose state may be driven by the action of
          the segment before. Valid wherever the model is. A segment of one step has
          only this step.
        - "segment": all of them. Stronger for short segments, but valid only if
          actions do not drive the next state or are among the features; otherwise
          segments that follow a task's segment are wrongly joined to it.
        - "representative": the last one, as in [1]_.
    independence_test : {"auto", "fisher_z", "wilks"} or BaseIndependenceTest, \
            default="auto"
        The test. "auto" is "fisher_z" where one column is tested against one, "wilks"
        otherwise.
    aggregation : {"rank_one", "simes", "cauchy", "any"} or BaseAggregation, \
            default="rank_one"
        How the collider criterion pools the pairs of a task into a test of each
        segment: see :mod:`skspecialist.aggregation`. "any" is the published rule.
    alpha : float, default=0.05
        Level, in (0, 1). With "bh", of the segments said to belong to a task at most
        this share is wrong on average, and a task that touches nothing stays empty
        with probability ``1 - alpha``.
    correction : {"bh", "by", "none"}, default="bh"
        Adjustment for the number of tests of a task: Benjamini-Hochberg,
        Benjamini-Yekutieli (valid under any dependence), or none. Every task is a
        family of its own, so that what is found for one does not hang on the others.
    min_effect_size : float, default=0.0
        Smallest (multiple, partial) correlation that counts, in [0, 1]. With very many
        sequences negligible effects are significant too. It is a sample correlation: of
        p columns with nothing it is about the square root of p over the number of
        sequences, so that a threshold below that filters nothing.
    n_timesteps : int, default=None
        Number of steps of a 2-D ``X``. None takes every column for a step.

    Attributes
    ----------
    segments_ : ndarray of int of shape (n_segments, 2)
        First step of each segment and the step after its last.
    structure_ : ndarray of bool of shape (n_segments, n_tasks)
        Which segments each task has.
    step_tasks_ : ndarray of bool of shape (n_timesteps, n_tasks)
        The same for steps.
    support_ : ndarray of bool of shape (n_timesteps,)
        Steps of any task.
    statistics_, pvalues_, adjusted_pvalues_, effect_sizes_ : ndarray of shape \
            (n_segments, n_tasks)
        Evidence for each segment and task: the statistic of the test (pooled for the
        collider criterion), its p-value, the p-value adjusted for multiplicity, and the
        strength of the dependence as a correlation (of the strongest pair).
    test_result_ : IndependenceResult
        All tests as they came: of shape (n_segments, n_tasks), or (n_pairs, n_tasks)
        for the collider criterion.
    pairs_ : ndarray of int of shape (n_pairs, 2) or None
        The segments of each pair, with the collider criterion.
    n_tasks_ : int
        Number of tasks.
    task_names_ : list of str
        Their names: column names of a DataFrame ``y``, or task0, task1, ...
    n_timesteps_ : int
        Number of steps.
    n_features_in_ : int
        Number of columns of the flat sequences: steps times features.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names.

    See Also
    --------
    SpecialistPipeline : Structure, encoder and estimator in one object.

    Notes
    -----
    The tests available are for linear relations between jointly Gaussian variables;
    nonlinear chains need one that is not. Tests of a constant feature are degenerate
    and count as no evidence.

    References
    ----------
    .. [1] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733.

    Examples
    --------
    >>> from skspecialist import TaskStructureIdentifier
    >>> from skspecialist.datasets import make_collider_sequences
    >>> data = make_collider_sequences(2000, n_timesteps=8, n_tasks=2, random_state=0)
    >>> identifier = TaskStructureIdentifier(alpha=0.01).fit(data.X, data.y)
    >>> bool((identifier.structure_ == data.structure).all())
    True
    >>> identifier.transform(data.X).shape
    (2000, 8, 1)
    """

    _parameter_constraints: dict = {
        "segment_length": [Interval(Integral, 1, None, closed="left")],
        "criterion": [StrOptions({"auto", "direct", "collider"})],
        "evidence": [StrOptions({"interior", "segment", "representative"})],
        "independence_test": [str, BaseIndependenceTest],
        "aggregation": [str, BaseAggregation],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "correction": [StrOptions({"bh", "by", "none"})],
        "min_effect_size": [Interval(Real, 0, 1, closed="both")],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        segment_length: int = 2,
        *,
        criterion: str = "auto",
        evidence: str = "interior",
        independence_test: str | BaseIndependenceTest = "auto",
        aggregation: str | BaseAggregation = "rank_one",
        alpha: float = 0.05,
        correction: str = "bh",
        min_effect_size: float = 0.0,
        n_timesteps: int | None = None,
    ) -> None:
        self.segment_length = segment_length
        self.criterion = criterion
        self.evidence = evidence
        self.independence_test = independence_test
        self.aggregation = aggregation
        self.alpha = alpha
        self.correction = correction
        self.min_effect_size = min_effect_size
        self.n_timesteps = n_timesteps

    @_fit_context(prefer_skip_nested_validation=False)
    @all_or_nothing
    def fit(self, X: ArrayLike, y: ArrayLike | None = None) -> Self:
        """Find the structure.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_timesteps * n_features)
            Sequences. The columns of a 2-D ``X`` are the steps in time order.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Value of each task in each sequence. Columns of floats are continuous,
            columns of integers, booleans or strings are class labels.

        Returns
        -------
        self : TaskStructureIdentifier
            Fitted.

        Raises
        ------
        ValueError
            If ``y`` is missing, ``X`` or ``y`` have NaN or infinite values, a task is
            constant, there are fewer steps than a segment has, or too few sequences
            for every test.
        """
        X = self._validate(X, n_timesteps=self.n_timesteps, reset=True, ensure_min_samples=2)
        targets = TaskTargets.for_samples(y, X, estimator=self)
        segments = make_segments(X.shape[1], self.segment_length)
        task_data, groups = targets.to_columns(y)
        data = np.hstack([X.reshape(len(X), -1), task_data])
        task_columns = _pad(groups, first=data.shape[1] - task_data.shape[1])
        moments = Moments.from_data(data)

        evidence = self._find_evidence(
            SegmentedData(data, moments, segments, X.shape[2], task_columns)
        )
        self.statistics_, self.pvalues_ = evidence.statistics, evidence.pvalues
        self.adjusted_pvalues_ = evidence.adjusted_pvalues
        self.effect_sizes_ = evidence.effect_sizes
        self.test_result_, self.pairs_ = evidence.tests, evidence.pairs
        relevant = (self.adjusted_pvalues_ <= self.alpha) & (
            self.effect_sizes_ >= self.min_effect_size
        )
        self._set_structure(relevant, segments, X.shape[1], targets.names)
        self._targets = targets
        self._gains = [
            GaussianGain(np.flatnonzero(np.repeat(steps, X.shape[2])), columns[columns >= 0]).fit(
                moments
            )
            for steps, columns in zip(self.step_tasks_.T, task_columns, strict=True)
        ]
        return self

    def score(self, X: ArrayLike, y: ArrayLike) -> float:
        """Return what the structure says about the tasks of new sequences, in nats.

        Each task is predicted from its steps by a Gaussian linear model with a ridge
        penalty, fitted in ``fit``, and compared with its mean. Indicators of class
        labels are treated alike. Steps that are missed lose likelihood, irrelevant ones
        cost what it takes to estimate their coefficients.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences that ``fit`` did not see.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Their tasks.

        Returns
        -------
        score : float
            Mean log-likelihood gained per sequence, summed over tasks; 0 for an empty
            structure.

        Raises
        ------
        ValueError
            If ``y`` has class labels that ``fit`` did not see.
        """
        X = self._validate(X)
        self._targets.split(y, like=X)
        task_data, _ = self._targets.to_columns(y)
        data = np.hstack([X.reshape(len(X), -1), task_data])
        return float(sum(gain.gain(data).mean() for gain in self._gains))

    def _find_evidence(self, problem: SegmentedData) -> Evidence:
        if self.criterion == "collider":
            return collider_criterion(
                problem, self.evidence, self.independence_test, self._correct, self.aggregation
            )
        return direct_criterion(problem, self.evidence, self.independence_test, self._correct)

    def _correct(self, pvalues: np.ndarray) -> np.ndarray:
        if self.correction == "none" or not pvalues.size:
            return pvalues
        return false_discovery_control(pvalues, axis=0, method=self.correction)


def _pad(groups: list[np.ndarray], first: int) -> np.ndarray:
    """Return the columns of each group in one array, counted from ``first``, -1 for none."""
    width = max(len(group) for group in groups)
    padded = np.full((len(groups), width), -1)
    for row, group in zip(padded, groups, strict=True):
        row[: len(group)] = first + group
    return padded
