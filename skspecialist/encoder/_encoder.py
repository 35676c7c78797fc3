"""An encoder whose sparsity is given."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np

from .._base.estimator import all_or_nothing, callback_context
from .._base.sklearn_compat import Interval, fit_context
from ._base import BaseSpecialistEncoder
from .penalties._base import BasePenalty

__all__ = ["SparseSpecialistEncoder"]


class SparseSpecialistEncoder(BaseSpecialistEncoder):
    """Learn latents of which a sparse mask says which task uses which.

    An encoder of the features and one small head for each task, which reads the latents
    that a non-negative mask between tasks and latents lets through [1]_; further latents,
    which no task reads, and a decoder of all of them. The latents that some task uses are
    then identified as a block, apart from everything else in the data: provided that
    there are at least as many task outputs as such latents, or the encoder may hand over
    the task functions themselves.

    ``fit`` takes four steps. (1) *How many*: encoders to different numbers of latents
    learn the tasks, side by side, and the smallest number is taken that predicts held-out
    samples about as well as the best. A mask alone often keeps one latent too many, which
    then carries what no task uses. (2) *Which*: the best of these goes on, now with the
    penalty on its mask; a proximal step in the metric of Adam [2]_ sets entries to exactly
    zero. (3) *Refit*: the heads again, without penalty, on the latents they kept.
    (4) *The rest*: these latents stay as they are while others, made independent of them,
    learn what else the decoder needs. Reconstruction can therefore pull nothing into the
    latents of the tasks.

    Parameters
    ----------
    n_components : int, default=None
        Number of all latents. None is as many as principal components explain 99.9 % of the
        variance of the features, at most 32. Known latents are as many as there are features.
    n_relevant : int, default=None
        Number of latents that the tasks may read, where it is known: without step 1. None
        finds it.
    sparsity : float, default=0.02
        From 0, dense, to 1, empty: the share of what the tasks' best model explains that
        may be lost for fewer latents (one standard error is granted besides). The same
        share of ``sparsity_max_`` weighs the penalty. In trials the last relevant latent
        explained 2.5 % or more, and a superfluous one hardly 1 %. 0 takes as many latents as
        the tasks have outputs, without step 1 or penalty.
    penalty : {"auto", "l1", "hard_concrete"} or instance of a penalty, default="auto"
        Penalty on the mask: "l1" is ``L1()``, a sparse group lasso, "hard_concrete" is
        ``HardConcrete()``, random gates. "auto" is the gates for known latents, where they
        found the support at a wider range of strengths, and the lasso otherwise.
    beta : float, default=0.0
        Weight of the divergence of the latents from a standard normal distribution, as in
        a variational autoencoder. The default is a deterministic encoder.
    independence_weight : float, default=0.3
        Weight of the dependence between the latents of the tasks and the others, in units
        of the reconstruction error: the Hilbert-Schmidt independence criterion, scaled to
        [0, 1]. Without it the others repeat in part what the tasks' latents say. It
        changes the others only. Where relevant and irrelevant latents of the world depend
        on each other, the others hold what remains of the irrelevant ones.
    heads : {"mlp", "linear"}, default="mlp"
        Whether a head is a network of two hidden layers of 32 units, or linear in the
        latents.
    hidden_layer_sizes : tuple of int or None, default=(128, 128)
        Hidden layers of the encoder; those of the decoder are the reverse. None: the
        latents are known, they are the standardized features themselves, and the mask
        alone is learned.
    whiten : bool, default=False
        Whether the networks see the principal components that explain 99.9 % of the
        variance, at unit variance, instead of the standardized features. For hundreds of
        correlated columns, if their small components matter; they are amplified,
        noise or not.
    task_weight : array-like of shape (n_tasks,), default=None
        How much each task counts. None is equally: losses are in units of what knowing
        nothing costs, so neither scale nor number of labels counts.
    max_epochs : int, default=None
        Epochs of a fit from scratch, such as step 4; step 1 takes 0.6 of them, step 2 0.8 if
        it goes on from step 1 and step 3 a third. None is as many as make 25 updates times
        the root of the number of samples: 2,500 at 10,000.
    batch_size : int, default=128
        Number of steps in a batch; whole sequences, at least 16 of them.
    learning_rate : float, default=0.03
        Largest learning rate of a one-cycle schedule, which makes so large a rate safe. A
        smaller one is stuck more often.
    input_noise : float or "auto", default="auto"
        Standard deviation of the normal noise that is added to the standardized features while
        the tasks are learned, so that networks do not learn rows by heart [3]_. "auto" tries 0
        and 0.3 at each number of latents of step 1 and takes what predicts held-out samples
        better: curved tasks of many samples want none, few or noisy samples want some. Without
        step 1 "auto" is 0. Known latents have none.
    refit : bool, default=True
        Whether to train the heads again without penalty.
    early_stopping : bool, default=False
        Whether to hold out a tenth of the samples after step 1 too, stop when their loss
        no longer falls, and go back to the best epoch. By default all are learned from.
    validation_fraction : float, default=0.2
        Part of the samples that step 1 holds out.
    callbacks : list of skorch callbacks, default=None
        Further callbacks for step 2.
    device : str, default="cpu"
        Where to train. The fitted networks are on the CPU.
    checkpoint_dir : path-like, default=None
        Directory in which the fit is saved while it runs, every 10 seconds at most, in a
        folder of its own. A fit that was killed goes on when it is called again with the
        same data, parameters and versions, and one that was finished returns at once; to the
        last bit what an undisturbed fit gives on the same machine. It needs an integer
        ``random_state``, and no ``callbacks``. Nothing is removed: remove the directory when
        you have the result. None saves nothing.
    warm_start : bool, default=False
        Whether step 2 starts from the networks and the number of latents of the previous
        fit, without step 1. The data must have the same features and tasks.
    random_state : int, RandomState instance or None, default=None
        Initial weights, batches and held-out samples. The same integer gives the same
        numbers; torch's global generator is not touched.
    verbose : int, default=0
        Whether skorch prints a line for each epoch.

    Attributes
    ----------
    width_losses_ : dict of {int: float} or None
        Held-out task loss by number of latents, for those that step 1 looked at; knowing
        nothing costs 1. None without step 1.
    sparsity_max_ : float or None
        What ``sparsity`` is a share of: the task loss that the best model saves. None
        without step 1.
    mask_ : ndarray of shape (n_tasks, n_components), float64
        How much each task uses each latent; exact zeros. Within the latents that are kept
        the mask depends on the coordinates that the encoder chose, which are not unique.
    support_ : ndarray of shape (n_components,), bool
        Latents that some task uses.
    input_noise_ : float
        Standard deviation of the noise that the latents were learned with.
    inseparable_groups_ : list of tuple of int
        Groups of latents of the support that are identified together only. With heads
        that are not linear, the whole support; with linear ones, latents that occur
        together in too many tasks. None of them for known latents.
    n_components_ : int
        Number of latents.
    history_ : list of dict
        Losses of each epoch of each step (``phase`` is "search", "sparse", "refit" or
        "reconstruction"); in the search the sum over all that learn side by side.
    n_iter_ : int
        Number of epochs of step 2.
    tasks_ : TaskTargets
        The tasks of ``y``.
    step_mask_ : ndarray of shape (n_timesteps, n_tasks) or None
        Weights of the steps where they are the same for all sequences.
    step_weights_ : ndarray of shape (n_timesteps, n_tasks) or None
        These, times how much each step was learned to count in a task; the mean square of that
        is 1 over the steps of a task. Negative where a step counts the other way. None unless
        ``step_weights`` had one row for each step.
    module_ : torch.nn.Module
        All networks, trained: latents of the tasks and their heads, the other latents, decoder.
    n_features_in_ : int
        Number of features of a step.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Their names, if ``X`` had string column names.

    See Also
    --------
    SparseSpecialistEncoderCV : Cross-validation chooses the sparsity.

    References
    ----------
    .. [1] Zheng, Feng, Li, Xie, Murphy and Zhang, From generalist to specialist
       representation, ICML 2026, arXiv:2605.12733.
    .. [2] Yun, Lozano and Yang, Adaptive proximal gradient methods for structured neural
       networks, NeurIPS 2021.
    .. [3] Bishop, Training with noise is equivalent to Tikhonov regularization, Neural
       Computation 7, 1995.

    Examples
    --------
    >>> from skspecialist.datasets import make_specialist_latents
    >>> from skspecialist.encoder import SparseSpecialistEncoder
    >>> data = make_specialist_latents(n_samples=300, random_state=0)
    >>> encoder = SparseSpecialistEncoder(n_relevant=3, max_epochs=3, random_state=0)
    >>> encoder.fit(data.X, data.y).transform(data.X).shape
    (300, 3)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSpecialistEncoder._parameter_constraints,
        "n_relevant": [Interval(Integral, 1, None, closed="left"), None],
        "sparsity": [Interval(Real, 0, 1, closed="both")],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_relevant: int | None = None,
        sparsity: float = 0.02,
        penalty: str | BasePenalty = "auto",
        beta: float = 0.0,
        independence_weight: float = 0.3,
        heads: str = "mlp",
        hidden_layer_sizes: tuple[int, ...] | None = (128, 128),
        whiten: bool = False,
        task_weight: Any = None,
        max_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        input_noise: float | str = "auto",
        refit: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.2,
        callbacks: list[Any] | None = None,
        device: str = "cpu",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.n_relevant = n_relevant
        self.sparsity = sparsity
        self.penalty = penalty
        self.beta = beta
        self.independence_weight = independence_weight
        self.heads = heads
        self.hidden_layer_sizes = hidden_layer_sizes
        self.whiten = whiten
        self.task_weight = task_weight
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.input_noise = input_noise
        self.refit = refit
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None, step_weights: Any = None, y_weight: Any = None) -> Self:
        """Learn latents and mask.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Single steps, or sequences of them.
        y : array-like of shape (n_samples,) or (n_samples, n_tasks)
            A row for each row, or sequence, of ``X``. Columns of floats are continuous
            tasks, all others class labels; a DataFrame may have both. NaN, or None among
            labels, is a missing value: that sample does not count for that task.
        step_weights : array-like of shape (n_timesteps, n_tasks) or \
                (n_sequences, n_timesteps, n_tasks), default=None
            Non-negative weights: the steps over which a task's head is summed. None is
            all of them. With one row for each step they are the same steps in all sequences,
            and how much each counts is learned besides, so that a wrong one does little harm.
            A task without any step uses no latent and predicts its mean, or its most
            frequent class. Only for sequences.
        y_weight : array-like of shape (n_samples,) or (n_samples, n_tasks), default=None
            How much each value of ``y`` counts within its task; zero is as if it were
            missing. It is not called ``sample_weight`` because by scikit-learn's contract a
            sample of weight two would have to give what two samples give, to the last digit,
            which training in random batches does not.

        Returns
        -------
        self : SparseSpecialistEncoder
            Fitted. A fit that fails leaves the estimator as it was.

        Raises
        ------
        ValueError
            If an array has a wrong shape, ``X`` is not finite, a task is constant, or
            ``checkpoint_dir`` cannot be used or holds a damaged file of this fit.

        Warns
        -----
        SpecialistWarning
            If no latent is kept, or as many as the tasks have outputs, or if the fit was
            too short for exact zeros.
        """
        with callback_context(self, X, y) as task:
            fit = self._learn(
                X,
                y,
                step_weights,
                y_weight,
                hold_out=self._hold_out,
                previous=getattr(self, "module_", None) if self.warm_start else None,
                n_relevant=self.n_relevant,
                sparsity=self.sparsity,
                shares=(),
                n_halves=0,
                task=task,
            )
            path = fit.path
            self.width_losses_ = None
            self.sparsity_max_ = None if path is None else path.explained
            if path is not None and self.hidden_layer_sizes is not None:
                self.width_losses_ = {w: float(path.losses[w].mean()) for w in sorted(path.losses)}
        return self

    def _hold_out(self, X: np.ndarray, y: Any, rng: np.random.RandomState) -> np.ndarray:
        """Return 0 for a random part of the samples and -1 for the others."""
        if len(X) < 4:
            return np.zeros(len(X), dtype=int)  # too few for a split
        n_held_out = min(max(1, round(self.validation_fraction * len(X))), len(X) - 2)
        folds = np.full(len(X), -1)
        folds[rng.permutation(len(X))[:n_held_out]] = 0
        return folds
