"""Localization of tasks in sequences with weak labels."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import TaskEstimatorMixin, all_or_nothing, callback_context
from .._base.sklearn_compat import CallbackSupportMixin, Interval, StrOptions, fit_context
from .._data.ragged import RaggedSequences, is_ragged_list
from .._data.tasks import require_tasks
from .._data.validation import check_same_length, n_dimensions, unstack_steps
from .._data.weights import validate_sample_weight
from ..exceptions import warn
from ..networks.layers import only_group
from ..networks.training import seeded
from ._calibration import HeldOut, held_out_folds
from ._features import StepFeatures
from ._networks import StepScorer, train_scorers
from ._weak_labels import WeakData, training_data

__all__ = ["TaskLocalizer"]


def _has_no_amounts(self: Any) -> bool:
    if hasattr(self, "_labels") and self._labels.is_amount.any():
        raise AttributeError(
            "Steps have no probabilities where y holds amounts (floats): use contributions, or "
            "fit to whether a task occurs (y.astype(bool))."
        )
    return True


class TaskLocalizer(CallbackSupportMixin, TaskEstimatorMixin, TransformerMixin, BaseEstimator):
    """Find the steps of each task in each sequence, from weak labels of the sequences.

    For sequences that do not align: step ``t`` of one has nothing to do with step ``t`` of
    another, and the steps of a task are not labeled. One scorer is applied to each step,
    wherever it is; the scores of the steps of a sequence are pooled to a prediction of its
    label, on which the scorer is trained (multiple-instance learning [1]_). It reads a few
    latents of a shared encoder through a sparse mask, as :class:`SparseSpecialistEncoder` does.

    Parameters
    ----------
    n_components : int, default=16
        Number of latents before selection.
    conditional : bool, default=False
        Whether the features of a step include its innovation, the residual of a linear
        regression on the step before: on smooth data a step carries traces of earlier ones.
        Where steps are independent the results are the same. Compare settings by
        :meth:`score`.
    smoothing : int, default=0
        Number of steps on either side with which the score of a step is averaged, in ``fit``
        as well: for tasks that last longer than a step. Compare settings by :meth:`score`.
    pooling : {"auto", "noisy_or", "log_sum_exp", "top_k_mean"}, default="auto"
        Pooling of the logits of the steps to that of the sequence. "auto" is "noisy_or": a
        task occurs unless it is absent from each step. "log_sum_exp" is a soft maximum and
        "top_k_mean" the mean of the largest tenth, for tasks that cover much of a sequence.
        Amounts are always sums over steps.
    sparsity : float, default=0.01
        Weight of the L1 penalty on the mask, relative to the loss of the null model.
    alpha : float, default=0.1
        False discovery rate of :meth:`predict`, in (0, 1), for each task. A step whose
        probability is below one half is never a discovery.
    cv : int, cross-validation generator or iterable, default=3
        Number of folds, or splits that hold out each sequence once. A further scorer is trained
        without each fold, and scores it for the calibration of the thresholds: a scorer is
        overconfident on the steps that it was trained on.
    hidden_layer_sizes : tuple of int, default=(64, 64)
        Units of the hidden layers of the encoder.
    input_noise : float, default=0.3
        Standard deviation of normal noise that is added to the features in training, relative
        to theirs. It prevents overfitting to single steps [2]_, which weak labels hardly
        constrain. Less suits tasks that differ from others by a small change.
    n_timesteps : int, default=None
        Number of steps of a row of a 2-D ``X`` without ``groups``. None takes every column
        as a step.
    task_types : {"amount", "label"}, list or dict of {str: str}, default=None
        Kinds of the tasks: one for all, one per task, or those of some tasks by name. None
        takes floats for amounts (continuous tasks), and integers, booleans and strings for
        class labels, whether or not values are missing.
    max_epochs : int, default=None
        Number of passes over the sequences. None is the number that makes 100 gradient steps
        times the root of the number of sequences, at least 5 and at most 200.
    batch_size : int, default=512
        Number of steps in a batch; at least two sequences, or pieces of them.
    window : int, default=None
        Largest number of steps of a sequence in training. Longer ones are divided into pieces
        of nearly equal length, each with the label of the sequence: the memory of the training
        then depends on this rather than on the longest sequence. A task must be in a good part
        of the pieces. Predictions are those of single steps and need no pieces. None trains on
        whole sequences, which amounts require.
    learning_rate : float, default=0.01
        Largest learning rate, of a one-cycle schedule.
    callbacks : list or None, default=None
        Callbacks of skorch.
    device : str or torch.device, default="cpu"
        Device of the training, such as "cuda"; "auto" is CUDA if available, else the CPU.
        Predictions are made on the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches and folds.
    verbose : int, default=0
        Whether to print the losses of each epoch.

    Attributes
    ----------
    mask_ : ndarray of shape (n_outputs, n_components)
        Weights of the latents in the outputs, with exact zeros. An output is a task or, for
        tasks of more than two classes, a class of one.
    support_ : ndarray of bool of shape (n_components,)
        Latents with a weight in any output.
    thresholds_ : ndarray of shape (n_outputs,)
        Least score of a discovery of :meth:`predict`: a probability, or the size of a
        contribution. Infinite where no score keeps the false discovery rate.
    task_names_ : list of str
        Names of the outputs: columns of a DataFrame ``y``, or task0, task1, ...; for each of
        more than two classes a name such as task0=jump.
    amount_scales_ : ndarray of shape (n_outputs,)
        Standard deviation of each amount over sequences; NaN for labels.
    out_of_fold_scores_ : list of ndarray of shape (n_timesteps, n_outputs)
        Probabilities (or contributions) of the steps of ``fit``, of each sequence by the
        scorer that was trained without it.
    noise_ : ndarray of shape (n_outputs,)
        Standard deviation of the residuals of amounts; NaN for other tasks.
    validation_score_ : float
        :meth:`score` of the sequences of ``fit``, of each by the scorer that was trained
        without it: compares settings at the cost of one fit each.
    history_ : list of dict
        Losses of each epoch.
    n_features_in_ : int
        Number of features of a step (of columns, with a 2-D ``X`` without ``groups``).
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names.

    See Also
    --------
    TaskStructureIdentifier : For sequences in which step ``t`` always means the same.
    SpecialistPipeline : Accepts a localizer as its ``structure``.

    Notes
    -----
    Sequences that do not align are the real-world setting of [3]_. The steps that are found
    discriminate between sequences with a task and those without: whatever always accompanies
    a task is found with it, and a task in all sequences, or in none, cannot be found. The
    false discovery rate rests on the steps of held-out sequences without the task, and on the
    assumption that steps without it have one distribution in both kinds of sequences: on
    smooth data, where traces of a task outlast it, this requires ``conditional=True``. A new
    source of variation in later sequences, such as another person, adds errors that no
    held-out sequence had.

    Features are standardized. Beyond five standard deviations they grow with their logarithm
    only: the scorer would extrapolate where a feature is nearly constant but for rare values.

    References
    ----------
    .. [1] O. Maron and T. Lozano-Perez, "A framework for multiple-instance learning", NeurIPS
       1998.
    .. [2] C. M. Bishop, "Training with noise is equivalent to Tikhonov regularization", Neural
       Computation 7, 1995.
    .. [3] Y. Zheng et al., "From Generalist to Specialist Representation", ICML 2026,
       arXiv:2605.12733.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist import TaskLocalizer
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 6, 3))
    >>> steps = X[:, :, 0] > 1.5  # where the task is
    >>> localizer = TaskLocalizer(max_epochs=60, random_state=0).fit(X, steps.any(axis=1))
    >>> localizer.predict_proba(X).shape
    (200, 6, 1)
    >>> bool((localizer.predict(X)[:, :, 0] == steps).mean() > 0.97)
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "conditional": ["boolean"],
        "smoothing": [Interval(Integral, 0, None, closed="left")],
        "pooling": [StrOptions({"auto", "noisy_or", "log_sum_exp", "top_k_mean"})],
        "sparsity": [Interval(Real, 0, None, closed="left")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
        "cv": ["cv_object"],
        "hidden_layer_sizes": [tuple, list],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
        "task_types": [StrOptions({"amount", "label"}), list, tuple, dict, None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "window": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "callbacks": [list, None],
        "device": [str, torch.device],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        n_components: int = 16,
        *,
        conditional: bool = False,
        smoothing: int = 0,
        pooling: str = "auto",
        sparsity: float = 0.01,
        alpha: float = 0.1,
        cv: Any = 3,
        hidden_layer_sizes: tuple[int, ...] = (64, 64),
        input_noise: float = 0.3,
        n_timesteps: int | None = None,
        task_types: Any = None,
        max_epochs: int | None = None,
        batch_size: int = 512,
        window: int | None = None,
        learning_rate: float = 0.01,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "cpu",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.conditional = conditional
        self.smoothing = smoothing
        self.pooling = pooling
        self.sparsity = sparsity
        self.alpha = alpha
        self.cv = cv
        self.hidden_layer_sizes = hidden_layer_sizes
        self.input_noise = input_noise
        self.n_timesteps = n_timesteps
        self.task_types = task_types
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.window = window
        self.learning_rate = learning_rate
        self.callbacks = callbacks
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> Self:
        """Train the scorers, and calibrate the thresholds on held-out sequences.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features), or list of array-like \
                of shape (n_timesteps, n_features), or array-like of shape (n_steps, n_features)
            Sequences. Steps that are all NaN, as after the end of shorter ones, are left out;
            another NaN is read as the mean of its feature. Two dimensions are the steps of all
            sequences if there are ``groups``; otherwise sequences of ``n_timesteps`` blocks.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Weak labels of the sequences: whether a task occurs (two classes, of which the
            larger label is yes), which one does (more classes), or its amount (floats). NaN
            or None where missing. A task of one value has no output, with a warning.
        groups : array-like of shape (n_steps,) or (n_sequences,), default=None
            With the steps of all sequences in ``X``, the sequence of each, ``y`` in the order
            of the sorted labels. Otherwise sequences that are held out together, such as
            windows of one recording.
        sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Weights of the sequences, or of their labels. An integer weight is equivalent to as
            many repetitions, and zero to absence. Their unit does not matter: the calibration
            counts Kish's effective number of sequences.

        Returns
        -------
        self : TaskLocalizer
            Fitted localizer.

        Raises
        ------
        ValueError or TypeError
            If ``X`` or ``y`` are of other shapes, all tasks are the same in all sequences, or
            there are fewer than two sequences.

        Warns
        -----
        SpecialistWarning
            If a task uses no latent, or ``n_timesteps`` or ``pooling`` has no effect.
        """
        with callback_context(self, X, y, n_subtasks=1) as task:
            rng = check_random_state(self.random_state)
            given = self._read(X, groups, reset=True)
            require_tasks(y, self)
            # Where groups name the sequence of each row, every sequence is held out by itself.
            groups = None if given.layout == "rows" else groups
            data = WeakData.merge(given, y, groups, sample_weight, self.task_types, self.cv)
            labels = self._labels = data.labels
            self.task_names_ = labels.names
            self.amount_scales_ = np.where(labels.is_amount, labels.scales, np.nan)
            if labels.is_amount.all() and self.pooling != "auto":
                warn(f"pooling={self.pooling!r} has no effect: amounts are summed over steps.")
            folds = held_out_folds(data, self.cv, rng)
            features = StepFeatures(self.conditional).fit(data.sequences, data.row_weights, rng)
            steps = training_data(data, features.transform_all(data.sequences), folds, self.window)
            with seeded(rng.randint(2**31 - 1), str(self.device)):
                module, self.history_ = train_scorers(self, steps, labels.is_amount.tolist(), task)
            self.mask_ = module.task_mask()[0].detach().numpy().copy()
            self.support_ = self.mask_.any(axis=0)
            if unused := np.array(labels.names)[~self.mask_.any(axis=1)].tolist():
                warn(
                    "The scorer does not discriminate between sequences with and without "
                    f"{unused}: no latent is used. More sequences, less sparsity, or a window "
                    "where sequences are long, may help."
                )
            self._scorer = StepScorer(labels, features, module)
            held_out = HeldOut.predict(self._scorer, data, folds)
            self.out_of_fold_scores_ = held_out.scores_of(given, data.places, self._scorer)
            self.noise_ = held_out.noise
            self.thresholds_ = held_out.thresholds(self.alpha)
            self.validation_score_ = held_out.log_likelihood
            # The scorers without a fold serve the calibration only.
            only_group(module, 0)
        return self

    def contributions(self, X: Any, groups: Any = None) -> Any:
        """Return the contribution of each step to each task.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        contributions : ndarray of shape (n_sequences, n_timesteps, n_outputs), float64
            In the units of ``y`` for amounts, probabilities for other tasks. A list of arrays,
            or rows, if ``X`` is; NaN at the ends of shorter sequences.
        """
        sequences = self._read(X, groups)
        return sequences.restore_layout(self._contributions(sequences))

    @available_if(_has_no_amounts)
    def predict_proba(self, X: Any, groups: Any = None) -> Any:
        """Return the probability that a step belongs to a task, unless ``y`` held amounts.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_sequences, n_timesteps, n_outputs), float64
            A list of arrays, or rows, if ``X`` is; NaN at the ends of shorter sequences.
        """
        return self.contributions(X, groups)

    def predict(self, X: Any, groups: Any = None) -> Any:
        """Return the steps of each task, at the false discovery rate ``alpha``.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        steps : ndarray of bool of shape (n_sequences, n_timesteps, n_outputs)
            A list of arrays, or rows, if ``X`` is; False at the ends of shorter sequences.

        Warns
        -----
        SpecialistWarning
            If the threshold of a task is infinite.
        """
        sequences = self._read(X, groups)
        infinite = np.array(self.task_names_)[np.isinf(self.thresholds_)].tolist()
        if infinite:
            warn(
                f"No step reaches the threshold of {infinite}: no score keeps the false discovery "
                "rate, or all sequences of fit contain the task, so that there is no null "
                "distribution. See contributions, or raise alpha."
            )
        # A negative contribution to an amount is one as well.
        found = np.abs(self._contributions(sequences)) >= self.thresholds_
        return sequences.restore_layout(found, fill=False)

    def step_weights(self, X: Any, groups: Any = None) -> Any:
        """Return the weight of each step for each task, sequence by sequence.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        weights : ndarray of shape (n_sequences, n_timesteps, n_tasks), float64
            For each column of ``y`` the probability of the task, the largest of those of its
            classes, or the size of its contribution in standard deviations of the amount.
            Zero at the ends of shorter sequences.
        """
        sequences = self._read(X, groups)
        weights = np.abs(self._contributions(sequences)) / self._labels.scales
        # Outputs of one task are adjacent: its weight is the largest among its classes.
        owners, starts = np.unique(self._labels.owners, return_index=True)
        by_task = np.zeros((*weights.shape[:2], len(self._labels.tasks)))
        by_task[:, :, owners] = np.maximum.reduceat(weights, starts, axis=2)
        return sequences.restore_layout(by_task, fill=0.0)

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return the means of the latents of each task over its steps.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n_sequences, n_used)
            One column per task and latent that it uses: the mean, weighted by the size of the
            contributions of the steps.
        """
        sequences = self._read(X, groups)
        weights = np.abs(self._contributions(sequences))
        features = self._scorer.pooled_latents(sequences, weights)[:, self.mask_ > 0]
        return features.astype(sequences.X.dtype, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as task0_latent3.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        names : ndarray of str
            Names of the columns of :meth:`transform`.
        """
        check_is_fitted(self)
        names = [f"{self.task_names_[g]}_latent{k}" for g, k in np.argwhere(self.mask_ > 0)]
        return np.array(names, dtype=object)

    def score(self, X: Any, y: Any, groups: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log-likelihood of the weak labels.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Weak labels of the sequences.
        groups : array-like of shape (n_steps,), default=None
            As in :meth:`fit`.
        sample_weight : array-like of shape (n_sequences,) or (n_sequences, n_tasks), default=None
            Weights of the sequences, or of their labels.

        Returns
        -------
        score : float
            Nats per sequence, summed over tasks; for amounts with normal errors.
        """
        sequences = self._read(X, groups)
        check_same_length(X=sequences, y=y)
        values = self._labels.values(y, held_out=True)
        shape = len(sequences), len(self._labels.tasks)
        weights = validate_sample_weight(sample_weight, shape)[:, self._labels.owners]
        if np.isnan(values).all():
            raise ValueError("y has missing values only: at least one label is needed for a score.")
        outputs = self._scorer.outputs(self._scorer.scores(sequences), sequences.observed)
        return self._scorer.log_likelihood(values, outputs, self.noise_, weights)

    def __sklearn_tags__(self) -> Tags:
        """Return tags: steps and single values may be missing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags

    def _read(self, X: Any, groups: Any, reset: bool = False) -> RaggedSequences:
        if not reset:
            check_is_fitted(self)
        X = unstack_steps(X)
        rows = not is_ragged_list(X) and n_dimensions(X) != 3
        sequences = RaggedSequences.read(
            self, X, groups if rows else None, n_timesteps=self.n_timesteps, reset=reset
        )
        if reset and self.n_timesteps is not None and (not rows or groups is not None):
            warn("n_timesteps has no effect: X is not 2-D, or has groups.")
        if not reset and sequences.X.shape[2] != (learned := self._scorer.features.width):
            raise ValueError(
                f"X has steps of {sequences.X.shape[2]} features, but fit had {learned}: pass "
                "groups with the steps of all sequences in one table, or X in the form of fit."
            )
        return sequences

    def _contributions(self, sequences: RaggedSequences) -> np.ndarray:
        return self._scorer.contributions(self._scorer.scores(sequences))
