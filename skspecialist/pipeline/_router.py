"""Routing of samples to the specialists of their domains, beside a pooled model."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import is_regressor
from sklearn.cluster import KMeans
from sklearn.preprocessing import scale
from sklearn.utils import Tags, check_random_state, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import ReferenceMixin, all_or_nothing, rows_matched
from .._base.sklearn_compat import BaseComposition, HasMethods, Interval, StrOptions, fit_context
from .._data.tasks import TaskTargets
from .._data.validation import (
    as_array,
    check_labels,
    check_same_length,
    validate_steps,
)
from .._stats.model_comparison import predict_values
from ._pipeline import SpecialistClassifier
from ._routing import (
    Gate,
    conformal_cut,
    decide_share,
    fit_each_task,
    gate_features,
    held_out_splits,
    mix_parts,
)
from ._sequences import LabeledSequences

__all__ = ["SpecialistRouter"]


class SpecialistRouter(ReferenceMixin, BaseComposition):
    r"""Route each sample to the specialists of its domain, or to a pooled model.

    There is one specialist per domain, such as a site or a period, and a pooled model of all
    domains. A gate estimates the domain of a sample from its features, and predictions are

    .. math:: f(x) = \sum_k g_k(x) \, [w_k f_k(x) + (1 - w_k) f_0(x)]

    with the specialists :math:`f_k`, the pooled model :math:`f_0` and the gate :math:`g`. If
    :math:`g_k(x) = P(k \mid x)`, this is the law of total expectation, the mixture of experts of
    [1]_ with known domains in training. The weights :math:`w_k` of routing against the pooled
    model are those of least loss in held-out samples (stacking, as in
    :class:`SpecialistPipeline`), and zero unless the combination is better than the pooled model
    by two standard errors. A sample that is far from all domains is predicted by the pooled model.

    Parameters
    ----------
    specialists : estimator, or list of (str, estimator)
        Estimator of each domain: the names are the values of ``domains``. A single one is cloned
        for every domain. Of sequences, most estimators get all steps as columns, gates the mean.
    pooled : estimator, default=None
        Estimator of all domains together. None is the estimator of the first specialist.
    gate : {"prototype", "learned", "uniform"}, default="prototype"
        - "prototype": the mean of each domain, and distances with the covariance within domains
          [2]_: :math:`g_k(x) \propto n_k \exp(-\|x - \mu_k\|^2_{\Sigma^{-1}} / 2)`. It takes new
          domains without samples of the others, and needs fewer samples.
        - "learned": logistic regression of the domain on the standardized features, for domains
          that are not clusters. It keeps the features of the training samples.
        - "uniform": all specialists have the same weight.
    top_k : int, default=None
        Number of specialists that predict a sample, those of largest :math:`g_k(x)`. None is all.
    balance : float, default=0.0
        Balance of the loads of the specialists, between 0 and 1. One bias per specialist moves
        the mean of :math:`g_k` over the training samples this share of the way to equal loads:
        the mirror descent of [3]_ with the entropy as potential. It limits cost, and costs
        accuracy where domains are of unequal sizes.
    alpha : float, default=0.01
        Level of the test that a sample is of an unknown domain. Of the samples of each known
        domain at most this share is sent to the pooled model (conformal prediction [4]_ with
        the distance of "prototype"), or one of :math:`n_k + 1` samples if that is more. Zero
        sends none.
    cv : int, splitter or iterable, default=3
        Splits that the weights of routing, and the distances of known samples, are estimated in.
        An integer is the number of folds, each with a share of all domains and labels.
    random_state : int, RandomState instance or None, default=None
        Folds, clusters, and estimators without a seed.

    Attributes
    ----------
    specialists_ : dict of {str: list of estimator}
        Fitted specialists by name, one estimator per task.
    pooled_ : list of estimator
        Fitted pooled model, one estimator per task.
    shares_ : ndarray of shape (n_tasks, n_specialists), float64
        Weights :math:`w_k` of routing against the pooled model, between 0 and 1.
    gains_ : ndarray of shape (n_tasks,), float64
        Decrease of the held-out loss of the pooled model by the combination: squared error in
        units of the variance, or log loss. NaN for a constant task.
    standard_errors_ : ndarray of shape (n_tasks,), float64
        Standard errors of the gains, over groups where they are given.
    reasons_ : list of str
        Evidence for or against routing in each task.
    loads_ : ndarray of shape (n_specialists,), float64
        Mean weights of the gate over the training samples.
    tasks_ : TaskTargets
        The tasks.
    n_features_in_ : int
        Number of features, of sequences those of a step.
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the features, where ``X`` had names.

    See Also
    --------
    SpecialistPipeline : ``fit(X, y, environments=...)`` keeps what all domains have in common.

    Notes
    -----
    A gate can only separate domains whose features differ. Where one relation holds in one
    domain and another one in the next, but features are distributed alike, held-out losses
    favor the pooled model.

    Where specialists are low-rank linear updates of one model, the prototypes of Arrow [5]_, top
    right singular vectors of the updates, need no samples; ``benchmarks/routing.py`` compares.

    References
    ----------
    .. [1] Jacobs, Jordan, Nowlan and Hinton, Adaptive mixtures of local experts, Neural
       Computation 3, 1991.
    .. [2] Lee, Lee, Lee and Shin, A simple unified framework for detecting out-of-distribution
       samples and adversarial attacks, NeurIPS 2018.
    .. [3] Li and others, phi-balancing for mixture-of-experts training, arXiv:2605.15403, 2026.
    .. [4] Vovk, Gammerman and Shafer, Algorithmic learning in a random world, Springer 2005:
       conformal p-values within categories.
    .. [5] Ostapenko and others, Towards modular LLMs by building and reusing a library of LoRAs,
       ICML 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.linear_model import Ridge
    >>> from skspecialist import SpecialistRouter
    >>> rng = np.random.default_rng(0)
    >>> site = np.repeat(["north", "south"], 150)
    >>> X = rng.normal(size=(300, 4)) + 2 * (site == "south")[:, None]
    >>> y = np.where(site == "south", -1, 1) * X[:, 0] + 0.1 * rng.normal(size=300)
    >>> router = SpecialistRouter(Ridge(), random_state=0).fit(X, y, domains=site)
    >>> print(router.reasons_[0])  # doctest: +ELLIPSIS
    routing has weight 1.00: ...
    >>> router.gate_weights(X[[0, -1]]).round(2)
    array([[1., 0.],
           [0., 1.]])
    >>> router.gate_weights(X[[0]] + 100)  # an unknown site
    array([[0., 0.]])
    """

    _parameter_constraints: dict = {
        "specialists": [list, HasMethods(["fit", "predict"])],
        "pooled": [HasMethods(["fit", "predict"]), None],
        "gate": [StrOptions({"learned", "prototype", "uniform"})],
        "top_k": [Interval(Integral, 1, None, closed="left"), None],
        "balance": [Interval(Real, 0, 1, closed="both")],
        "alpha": [Interval(Real, 0, 1, closed="left")],
        "cv": ["cv_object"],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        specialists: Any,
        pooled: Any = None,
        *,
        gate: str = "prototype",
        top_k: int | None = None,
        balance: float = 0.0,
        alpha: float = 0.01,
        cv: Any = 3,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.specialists = specialists
        self.pooled = pooled
        self.gate = gate
        self.top_k = top_k
        self.balance = balance
        self.alpha = alpha
        self.cv = cv
        self.random_state = random_state

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the parameters, with ``deep`` also the specialists by name.

        Parameters
        ----------
        deep : bool, default=True
            Whether parameters of the estimators are included.

        Returns
        -------
        params : dict
            Values by name.
        """
        return dict(self._get_params("specialists", deep=deep))

    def set_params(self, **params: Any) -> Self:
        """Set parameters, specialists by name, or parameters of these.

        Parameters
        ----------
        **params : dict
            Values by name.

        Returns
        -------
        self : SpecialistRouter
            The estimator.
        """
        return self._set_params("specialists", **params)

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=False)
    def fit(self, X: ArrayLike, y: Any = None, domains: Any = None, groups: Any = None) -> Self:
        """Fit specialists, pooled model and gate, and compare them in held-out samples.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, n_timesteps, n_features)
            Samples, or sequences.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Tasks: labels if the specialists are classifiers, amounts if they are regressors.
            Single values may be missing.
        domains : array-like of shape (n_samples,), default=None
            Domain of each sample. None divides samples into as many clusters as there are
            specialists (k-means of the standardized features), in a list.
        groups : array-like of shape (n_samples,), default=None
            Samples of one group are on the same side of every split.

        Returns
        -------
        self : SpecialistRouter
            Fitted.

        Raises
        ------
        ValueError
            If ``domains`` differ from the names of the specialists, or are missing for a single
            estimator, or ``X`` is not finite.
        """
        X = validate_steps(self, X, ensure_min_samples=2)
        options = {"allow_missing": True, "task_types": self._kind()}
        tasks = TaskTargets.for_samples(y, X, estimator=self, **options)
        seed = self._seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        parts, codes = self._read_domains(X, domains, seed)
        data = LabeledSequences.validated(X, y, tasks, groups=groups, environments=codes)
        features = gate_features(X)

        # 1. Predictions of samples, and their distances, by fits to the others.
        def fit_parts(rows: Any) -> tuple[list[list[Any]], Gate]:
            return self._fit_parts(parts, data.take(rows), features[rows])

        distances, decisions = self._compare(data, features, codes, fit_parts)

        # 2. The weight of routing in each task, if the combination predicts it better.
        shares, gains, errors, reasons = zip(*decisions, strict=True)
        self.gains_, self.standard_errors_ = np.array(gains), np.array(errors)
        self.reasons_ = list(reasons)
        self.shares_ = np.repeat(np.array(shares)[:, None], len(parts) - 1, axis=1)

        # 3. All parts, fitted to all samples.
        fitted, gate = fit_parts(np.arange(len(X)))
        self.specialists_ = dict(zip(list(parts)[:-1], fitted[:-1], strict=True))
        self.pooled_ = fitted[-1]
        cuts = [conformal_cut(distances[codes == k], self.alpha) for k in range(len(gate))]
        self._gate = replace(gate, cuts=np.array(cuts))
        self.loads_ = self._gate.weights(features).mean(axis=0)
        self.tasks_ = tasks
        return self

    @all_or_nothing
    def add_specialist(
        self, name: str, estimator: Any, X: ArrayLike, y: Any, groups: Any = None
    ) -> Self:
        """Add the specialist of a further domain; the others are not fitted again.

        The gate gets the new domain: "prototype" its mean, "learned" is fitted again. The
        weight of routing for the new specialist is estimated in held-out samples of its domain.

        Parameters
        ----------
        name : str
            Name of the domain.
        estimator : estimator
            Specialist, which is cloned.
        X : array-like
            Samples of the domain, as in :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Their tasks, with labels seen in :meth:`fit`.
        groups : array-like of shape (n_samples,), default=None
            As in :meth:`fit`.

        Returns
        -------
        self : SpecialistRouter
            With one more specialist.

        Raises
        ------
        ValueError
            If there is a specialist of this name already.
        """
        check_is_fitted(self)
        if name in self.specialists_:
            raise ValueError(f"name={name!r} is a specialist already: {list(self.specialists_)}.")
        X = validate_steps(self, X, reset=False)
        data = LabeledSequences.validated(X, y, self.tasks_, groups=groups)
        features, earlier = gate_features(X), list(self.specialists_.values())

        def fit_parts(rows: Any) -> tuple[list[list[Any]], Gate]:
            new = fit_each_task(estimator, data.take(rows), self._seed)
            return [*earlier, new, self.pooled_], self._gate.extended(features[rows])

        codes = np.full(len(X), len(earlier))
        distances, decisions = self._compare(data, features, codes, fit_parts)
        (*_, new, _), gate = fit_parts(np.arange(len(X)))
        shares = np.array([share for share, *_ in decisions])
        cuts = np.append(gate.cuts, conformal_cut(distances, self.alpha))
        self.specialists_ = {**self.specialists_, name: new}
        self.shares_ = np.column_stack([self.shares_, shares])
        self.reasons_ = [
            f"{before}; in {name}: {text}"
            for before, (*_, text) in zip(self.reasons_, decisions, strict=True)
        ]
        self._gate = replace(gate, cuts=cuts)
        return self

    def gate_weights(self, X: ArrayLike) -> np.ndarray:
        """Return the weights of the specialists for each sample.

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.

        Returns
        -------
        weights : ndarray of shape (n_samples, n_specialists)
            Non-negative, of sum one; all zero for samples of unknown domains, which the pooled
            model predicts.
        """
        check_is_fitted(self)
        features = gate_features(validate_steps(self, X, reset=False))
        known = (self._gate.distances(features) <= self._gate.cuts).any(axis=1)
        return self._gate.weights(features) * known[:, None]

    def predict(self, X: ArrayLike) -> Any:
        """Predict every task.

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.

        Returns
        -------
        y : ndarray or DataFrame of shape (n_samples,) or (n_samples, n_tasks)
            Predictions, in the form of the ``y`` of :meth:`fit`.
        """
        pairs = zip(self._scores(X), self.tasks_.tasks, strict=True)
        return self.tasks_.join([predict_values(task, scores) for scores, task in pairs], X)

    @available_if(lambda self: not is_regressor(self))
    def predict_proba(self, X: ArrayLike) -> Any:
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes) or list of ndarray
            One array per task if ``y`` had several columns.
        """
        scores = self._scores(X)
        return scores[0] if self.tasks_.is_1d else scores

    @rows_matched
    def score(self, X: ArrayLike, y: Any, sample_weight: Any = None) -> float:
        """Return the mean over tasks of R2 (continuous) or accuracy (class labels).

        Parameters
        ----------
        X : array-like
            Samples, as in :meth:`fit`.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            Values of the tasks.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        score : float
            Mean of the scores of the tasks, at most 1.
        """
        return self.tasks_.score(y, self.predict(X), sample_weight)

    classes_ = SpecialistClassifier.classes_

    def __sklearn_tags__(self) -> Tags:
        """Return the tags of tasks, of the kind of the first specialist."""
        tags, part = super().__sklearn_tags__(), get_tags(self._named()[0][1])
        tags.estimator_type = part.estimator_type
        tags.classifier_tags, tags.regressor_tags = part.classifier_tags, part.regressor_tags
        tags.target_tags.required = tags.target_tags.multi_output = True
        tags.input_tags.three_d_array = True
        return tags

    def _named(self) -> list[tuple[Any, Any]]:
        """Return specialists with their names, that of a single estimator is None."""
        return (
            self.specialists if isinstance(self.specialists, list) else [(None, self.specialists)]
        )

    def _kind(self) -> str | None:
        return {"classifier": "label", "regressor": "amount"}.get(get_tags(self).estimator_type)

    def _read_domains(
        self, X: np.ndarray, domains: Any, seed: int
    ) -> tuple[dict[str, Any], np.ndarray]:
        """Return estimators by name, the pooled one last, and codes of the domains."""
        named, names = self._named(), [name for name, _ in self._named()]
        pooled = named[0][1] if self.pooled is None else self.pooled
        if domains is None:
            if names == [None] or len(names) > len(X):
                raise ValueError(
                    "fit needs domains, or a list of at most n_samples specialists, whose number "
                    f"is that of the clusters; got specialists={self.specialists!r} and "
                    f"n_samples={len(X)}."
                )
            clusters = KMeans(len(names), random_state=seed)
            return {**dict(named), "": pooled}, clusters.fit_predict(scale(gate_features(X)))
        check_same_length(X=X, domains=domains)
        codes = check_labels(domains, "domains")
        values = [str(v) for v in np.unique(as_array(domains, "domains"))]
        if names == [None]:
            return {**dict.fromkeys(values, named[0][1]), "": pooled}, codes
        self._validate_names(names)
        if set(names) != set(values):
            raise ValueError(f"domains has the values {values}, but specialists has {names}.")
        # In the order of the domains: that of the list does not matter.
        return {**{value: dict(named)[value] for value in values}, "": pooled}, codes

    def _compare(
        self, data: LabeledSequences, features: np.ndarray, codes: np.ndarray, fit_parts: Any
    ) -> tuple[np.ndarray, list[tuple[float, float, float, str]]]:
        """Return distances of held-out samples, NaN for others, and decisions on the tasks."""
        tasks, distances = data.tasks.tasks, np.full(len(data), np.nan)
        scores = [np.zeros((2, len(data), max(1, task.n_classes))) for task in tasks]
        for train, test in held_out_splits(self.cv, data, self._seed):
            fitted, gate = fit_parts(train)
            own = gate.distances(features[test])
            distances[test] = own[np.arange(len(test)), codes[test]]
            weights, everything = gate.weights(features[test]), np.ones((len(test), 1))
            for i, (task, score) in enumerate(zip(tasks, scores, strict=True)):
                score[0, test] = mix_parts(fitted[-1:], everything, i, task, data.X[test])
                score[1, test] = mix_parts(fitted[:-1], weights, i, task, data.X[test])
        seen = ~np.isnan(distances)
        return distances, [decide_share(data, i, seen, score) for i, score in enumerate(scores)]

    def _fit_parts(
        self, parts: dict[str, Any], data: LabeledSequences, features: np.ndarray
    ) -> tuple[list[list[Any]], Gate]:
        """Return fitted estimators of all tasks, the pooled ones last, and the gate."""
        *specialists, pooled = parts.values()
        everything = fit_each_task(pooled, data, self._seed)
        fitted = []
        for k, estimator in enumerate(specialists):
            rows = np.flatnonzero(data.environments == k)
            # Without a sample in a fold, a domain is predicted by the pooled model.
            own = fit_each_task(estimator, data.take(rows), self._seed) if len(rows) else everything
            fitted.append(own)
        settings = {"kind": self.gate, "top_k": self.top_k, "balance": self.balance}
        codes = np.asarray(data.environments)
        gate = Gate.fit(features, codes, len(specialists), **settings)
        return [*fitted, everything], gate

    def _scores(self, X: ArrayLike) -> list[np.ndarray]:
        weights = self.gate_weights(X)
        X = validate_steps(self, X, reset=False)
        parts = [*self.specialists_.values(), self.pooled_]
        scores = []
        for i, task in enumerate(self.tasks_.tasks):
            routed = weights * self.shares_[i]
            both = np.column_stack([routed, 1 - routed.sum(axis=1)])
            # A sum of weights that is one up to rounding leaves nothing to the pooled model.
            both[np.abs(both) < len(parts) * np.finfo(float).eps] = 0.0
            scores.append(mix_parts(parts, both, i, task, X))
        return scores
