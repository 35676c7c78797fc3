"""Which steps of each sequence belong to which task."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from .._base.callbacks import CallbackSupportMixin, Task, fit_task
from .._base.estimator import TaskEstimatorMixin, all_or_nothing
from .._base.sklearn_compat import Interval, StrOptions, fit_context
from .._data.ragged import RaggedSequences, is_ragged_list
from .._data.sequences import n_dimensions
from .._data.tasks import TaskTargets
from .._data.validation import check_callbacks, check_layer_sizes, check_same_length
from ..encoder._training import seeded
from ..exceptions import warn
from ..networks.layers import only_group
from ._calibration import HeldOut, held_out_folds
from ._features import StepFeatures
from ._goals import Goals, training_data
from ._networks import ScorerSettings, train_scorers
from ._scorer import StepScorer

__all__ = ["TaskLocalizer"]


def _knows_no_amounts(self: Any) -> bool:
    if hasattr(self, "_goals") and self._goals.is_amount.any():
        raise AttributeError(
            "Steps have no probabilities where y holds amounts (floats): use contributions, or "
            "fit to whether a task occurs (y.astype(bool))."
        )
    return True


class TaskLocalizer(CallbackSupportMixin, TaskEstimatorMixin, TransformerMixin, BaseEstimator):
    """Find the steps of each task in each sequence, told only which tasks occur in it.

    For sequences that do not align: step ``t`` of one has nothing to do with step ``t`` of
    another, and nobody said when a task took place. One scorer looks at a step, wherever it
    is; the scores of all steps of a sequence are pooled to what is known of it, and from that
    the scorer learns (multiple-instance learning [1]_). It reads a few latents of a shared
    encoder through a sparse mask, as :class:`SparseSpecialistEncoder` does.

    Parameters
    ----------
    n_components : int, default=16
        Number of latents that there are to use.
    conditional : bool, default=False
        Whether a step is seen together with its innovation, the residual of a linear
        regression on the step before: on smooth data a step carries traces of earlier ones.
        Where steps are independent both find the same. :meth:`score` tells which suits.
    smoothing : int, default=0
        Number of steps on either side with which the score of a step is averaged, in ``fit``
        as well: for tasks that last longer than a step. :meth:`score` tells what suits.
    pooling : {"auto", "noisy_or", "log_sum_exp", "top_k_mean"}, default="auto"
        How the logits of the steps become that of the sequence. "auto" is "noisy_or": a task
        occurs unless each step fails to have it. "log_sum_exp" is a soft maximum and
        "top_k_mean" the mean of the largest tenth, for tasks that cover much of a sequence.
        Amounts are always sums over steps.
    sparsity : float, default=0.01
        Weight of the L1 penalty on the mask, where 1 is the loss of knowing nothing.
    alpha : float, default=0.1
        False discovery rate of :meth:`predict`, in (0, 1), for each task. A step that is more
        likely without the task than with it does not count in any case.
    cv : int, default=3
        Number of folds. As many more scorers learn beside the one of all sequences, each
        without one fold, and say how certain a step must be: a scorer is too certain of the
        steps that it learned from.
    hidden_layer_sizes : tuple of int, default=(64, 64)
        Units of the hidden layers of the encoder.
    input_noise : float, default=0.3
        Standard deviation of the normal noise that is added to features while learning, where
        1 is theirs. With it the scorer does not learn single steps by heart [2]_, of which
        weak labels say so little. Less suits tasks that a small change tells from others.
    n_timesteps : int, default=None
        Number of steps of a row of a 2-D ``X`` without ``groups``. None takes every column
        for a step.
    max_epochs : int, default=None
        Passes over the sequences. None is what makes 100 gradient steps times the root of the
        number of sequences, at least 5 and at most 200.
    batch_size : int, default=512
        Steps in a batch; at least two sequences, or pieces of them.
    window : int, default=None
        Number of steps from which on a sequence is cut for learning, into pieces of nearly equal
        length, of each of which is known what is of the sequence: the memory for learning then
        depends on this rather than on the longest sequence. A task must be in a good part of the
        pieces. Since a step is scored by itself nothing has to be cut afterwards. None learns
        from whole sequences, which amounts ask for.
    learning_rate : float, default=0.01
        Largest learning rate, of a one-cycle schedule.
    callbacks : list or None, default=None
        Callbacks of skorch.
    device : str, default="cpu"
        Where the networks are trained; they are used on the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches and folds.
    verbose : int, default=0
        Whether to print the losses of each epoch.

    Attributes
    ----------
    mask_ : ndarray of shape (n_goals, n_components)
        How much each task uses each latent, with exact zeros.
    support_ : ndarray of bool of shape (n_components,)
        Latents that some task uses.
    thresholds_ : ndarray of shape (n_goals,)
        Score from which on :meth:`predict` counts a step: a probability, or the size of a
        contribution. Infinite where no score is certain enough.
    task_names_ : list of str
        What is localized, the goals: columns of a DataFrame ``y``, or task0, task1, ...; of a
        column of more than two classes one for each class, such as task0=jump.
    out_of_fold_scores_ : list of ndarray of shape (n_timesteps, n_goals)
        Probabilities (or contributions) of the steps of ``fit``, each sequence by the scorer
        that did not learn from it.
    noise_ : ndarray of shape (n_goals,)
        Standard deviation of what is left of amounts; NaN for other tasks.
    validation_score_ : float
        :meth:`score` of the sequences of ``fit``, each by the scorer that did not learn from
        it: compares settings at the cost of a fit each.
    history_ : list of dict
        Losses of each epoch.
    n_features_in_ : int
        Number of features of a step (of columns, with a 2-D ``X`` without ``groups``).
    feature_names_in_ : ndarray of str of shape (n_features_in_,)
        Names of the columns, where ``X`` had names.

    See Also
    --------
    TaskStructureIdentifier : For sequences in which step ``t`` always means the same.
    SpecialistPipeline : Takes this for its ``structure``.

    Notes
    -----
    Sequences that do not align are the real-world setting of [3]_. What is found are steps that
    tell sequences with a task from those without. Something that always accompanies a task is
    found with it, and a task in all sequences, or in none, cannot be. The false discovery rate
    rests on the steps of held-out sequences without the task, and on steps without it being
    alike in both kinds of sequences: on smooth data, where traces of a task outlast it, this
    asks for ``conditional=True``. What is new in later sequences, such as another person,
    adds errors that no held-out sequence had.

    Features are standardized. Beyond five standard deviations they grow with their logarithm
    only: where a feature hardly ever moved, one that does would be taken for any task.

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
    >>> localizer = TaskLocalizer(max_epochs=100, random_state=0).fit(X, steps.any(axis=1))
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
        "cv": [Interval(Integral, 2, None, closed="left")],
        "hidden_layer_sizes": [tuple, list],
        "input_noise": [Interval(Real, 0, None, closed="left")],
        "n_timesteps": [Interval(Integral, 1, None, closed="left"), None],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 2, None, closed="left")],
        "window": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither")],
        "callbacks": [list, None],
        "device": [str],
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
        cv: int = 3,
        hidden_layer_sizes: tuple[int, ...] = (64, 64),
        input_noise: float = 0.3,
        n_timesteps: int | None = None,
        max_epochs: int | None = None,
        batch_size: int = 512,
        window: int | None = None,
        learning_rate: float = 0.01,
        callbacks: list[Any] | None = None,
        device: str = "cpu",
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
    def fit(self, X: Any, y: Any, groups: Any = None) -> Self:
        """Learn what the steps of each task look like.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features), or list of array-like \
                of shape (n_timesteps, n_features), or array-like of shape (n_steps, n_features)
            Sequences. In an array of three dimensions shorter ones end with steps that are
            all NaN. Two dimensions are the steps of all sequences if there are ``groups``;
            otherwise each row is a sequence, its columns ``n_timesteps`` equal blocks.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            Of each sequence, whether a task occurs in it (two classes, of which the larger
            label is yes), what it is (more classes), or how much of a task is in it (floats).
            NaN or None where that is not known.
        groups : array-like of shape (n_steps,) or (n_sequences,), default=None
            With the steps of all sequences in ``X``, the sequence of each, ``y`` in the order
            of the sorted labels. Otherwise sequences that are held out together, such as
            windows of one recording.

        Returns
        -------
        self : TaskLocalizer
            Fitted.

        Raises
        ------
        ValueError or TypeError
            If ``X`` or ``y`` are of other shapes, a task is the same in all sequences, or
            there are fewer than two sequences.

        Warns
        -----
        SpecialistWarning
            If a task uses no latent, so that nothing was learned of it.
        """
        with fit_task(self, X, y, n_subtasks=1) as task:
            rng = check_random_state(self.random_state)
            sequences = self._read(X, groups, reset=True)
            tasks = TaskTargets.for_samples(y, sequences, estimator=self, allow_missing=True)
            self._goals = Goals.from_tasks(tasks)
            self.task_names_ = self._goals.names
            values = self._goals.values(y)
            by_rows = groups is None or sequences.given_as == "rows"
            folds = held_out_folds(sequences, None if by_rows else groups, self.cv, rng)
            features = StepFeatures(self.conditional).fit(sequences, rng)
            data = training_data(
                self._goals, features.of_all(sequences), values, folds, self.window
            )
            with seeded(rng.randint(2**31 - 1), self.device):
                module, self.history_ = train_scorers(
                    data, self._goals.is_amount.tolist(), self._settings(task)
                )
            self.mask_ = module.task_mask()[0].detach().numpy().copy()
            self.support_ = self.mask_.any(axis=0)
            self._warn_of_nothing()
            self._scorer = StepScorer(self._goals, features, module)
            held_out = HeldOut.of(self._scorer, sequences, values, folds)
            self.out_of_fold_scores_, self.noise_ = held_out.scores, held_out.noise
            self.thresholds_ = held_out.thresholds(self.alpha)
            self.validation_score_ = held_out.log_likelihood
            only_group(module, 0)
        return self

    def contributions(self, X: Any, groups: Any = None) -> Any:
        """Return what each step adds to each task.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        contributions : ndarray of shape (n_sequences, n_timesteps, n_goals), float64
            In the units of ``y`` for amounts, probabilities for other tasks; a list of arrays,
            or rows, as ``X`` was. NaN at the ends of shorter sequences.
        """
        sequences = self._read(X, groups)
        return sequences.in_its_form(self._contributions(sequences))

    @available_if(_knows_no_amounts)
    def predict_proba(self, X: Any, groups: Any = None) -> Any:
        """Return the probability that a step has a task; not where ``y`` held amounts.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        probabilities : ndarray of shape (n_sequences, n_timesteps, n_goals), float64
            A list of arrays, or rows, as ``X`` was. NaN at the ends of shorter sequences.
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
        steps : ndarray of bool of shape (n_sequences, n_timesteps, n_goals)
            A list of arrays, or rows, as ``X`` was. False at the ends of shorter sequences.

        Warns
        -----
        SpecialistWarning
            If the threshold of a task is infinite.
        """
        sequences = self._read(X, groups)
        never = [n for n, t in zip(self.task_names_, self.thresholds_, strict=True) if np.isinf(t)]
        if never:
            warn(
                f"No step of {never} is certain enough, or no sequence of fit was without, to tell "
                "what steps without it look like. Look at contributions, or raise alpha."
            )
        found = np.abs(self._contributions(sequences)) >= self.thresholds_
        return sequences.in_its_form(found, fill=False)

    def step_weights(self, X: Any, groups: Any = None) -> Any:
        """Return the weight of each step for each task, sequence by sequence.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        weights : ndarray of shape (n_sequences, n_timesteps, n_tasks), float64
            One for each column of ``y``: the probability of the task, the largest of those of
            its classes, or the size of its contribution in standard deviations of the amount.
            Zero at the ends of shorter sequences.
        """
        sequences = self._read(X, groups)
        weights = np.abs(self._contributions(sequences)) / self._goals.scales
        starts = np.flatnonzero(np.diff(self._goals.owners, prepend=-1))
        return sequences.in_its_form(np.maximum.reduceat(weights, starts, axis=2), fill=0.0)

    def transform(self, X: Any, groups: Any = None) -> np.ndarray:
        """Return, task by task, means of its latents over its steps.

        Parameters
        ----------
        X, groups : array-like
            Sequences, as in :meth:`fit`.

        Returns
        -------
        features : ndarray of shape (n_sequences, n_used)
            One for each latent that a task uses, the mean weighted by what steps contribute.
        """
        sequences = self._read(X, groups)
        weights = np.abs(self._contributions(sequences))
        features = self._scorer.pooled_latents(sequences, weights)[:, self.mask_ > 0]
        return features.astype(sequences.X.dtype, copy=False)

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Return names such as task0_latent3.

        Parameters
        ----------
        input_features : ignored
            For scikit-learn's interface.

        Returns
        -------
        names : ndarray of str
            Names of what :meth:`transform` returns.
        """
        check_is_fitted(self)
        names = [f"{self.task_names_[g]}_latent{k}" for g, k in np.argwhere(self.mask_ > 0)]
        return np.array(names, dtype=object)

    def score(self, X: Any, y: Any, groups: Any = None) -> float:
        """Return the log-likelihood of what is known of the sequences.

        Parameters
        ----------
        X : array-like
            Sequences, as in :meth:`fit`.
        y : array-like of shape (n_sequences,) or (n_sequences, n_tasks)
            What is known of them.
        groups : array-like of shape (n_steps,), default=None
            As in :meth:`fit`.

        Returns
        -------
        score : float
            Nats per sequence, summed over tasks; of amounts for normal errors.
        """
        sequences = self._read(X, groups)
        check_same_length(X=sequences, y=y)
        values = self._goals.values(y)
        if np.isnan(values).all():
            raise ValueError("y has missing values only: nothing is known to compare with.")
        outputs = self._scorer.outputs(self._scorer.scores(sequences), sequences.there)
        return self._scorer.log_likelihood(values, outputs, self.noise_)

    def _read(self, X: Any, groups: Any, reset: bool = False) -> RaggedSequences:
        if not reset:
            check_is_fitted(self)
        rows = not is_ragged_list(X) and n_dimensions(X) != 3
        sequences = RaggedSequences.read(
            self, X, groups if rows else None, n_timesteps=self.n_timesteps, reset=reset
        )
        width = sequences.X.shape[2]
        if not reset and width != (learned := self._scorer.features.width):
            raise ValueError(
                f"X has steps of {width} features, but fit had {learned}: pass groups with the "
                "steps of all sequences in one table, or X in the form that fit had."
            )
        return sequences

    def _warn_of_nothing(self) -> None:
        names = [n for n, row in zip(self.task_names_, self.mask_, strict=True) if not row.any()]
        if names:
            warn(
                f"Nothing was found that tells the sequences with {names} from those without. If "
                "there is something, more sequences, less sparsity, or a window where sequences "
                "are long, may help."
            )

    def _settings(self, task: Task) -> ScorerSettings:
        return ScorerSettings(
            n_components=self.n_components,
            hidden=check_layer_sizes(self.hidden_layer_sizes) or (),
            noise=self.input_noise,
            sparsity=self.sparsity,
            pooling="noisy_or" if self.pooling == "auto" else self.pooling,
            smoothing=self.smoothing,
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            callbacks=check_callbacks(self.callbacks),
            device=self.device,
            verbose=self.verbose,
            task=task,
        )

    def _contributions(self, sequences: RaggedSequences) -> np.ndarray:
        return self._scorer.contributions(self._scorer.scores(sequences))
