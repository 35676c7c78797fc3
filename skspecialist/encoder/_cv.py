"""An encoder whose sparsity is chosen by cross-validation."""

from __future__ import annotations

import os
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.model_selection import KFold, check_cv

from .._base.estimator import all_or_nothing, callback_context
from .._base.sklearn_compat import Interval, fit_context
from .._data.validation import check_same_length, naming
from ._base import BaseSpecialistEncoder
from ._search import Path
from .penalties._base import BasePenalty

__all__ = ["SparseSpecialistEncoderCV"]

TOLERANCE, ENTRY_TOLERANCE = 0.02, 0.005
SHARES = tuple(np.geomspace(0.03, 0.8, 8).tolist())


class SparseSpecialistEncoderCV(BaseSpecialistEncoder):
    """Sparse specialist encoder that chooses its sparsity by cross-validation.

    The path from dense to empty is one of the number of latents that the tasks may read;
    of known latents (``hidden_layer_sizes=None``), of the penalty on the mask, each point
    refitted without it. The sparsest point is taken whose held-out task loss exceeds that of
    the best by no more than ``tolerance`` of what the best explains and one standard error [1]_.
    The standard error is one over folds: over samples it shrinks with their number, while
    what sets two fits apart does not, and one latent too many would often be kept.
    All folds and points of the path learn side by side. Then the encoder is fitted to all
    samples, as :class:`SparseSpecialistEncoder` does it.

    Parameters
    ----------
    n_components : int, default=None
        Number of all latents. None is as many as principal components explain 99.9 % of the
        variance of the features, at most 32. Known latents are as many as there are features.
    cv : int, splitter or iterable, default=5
        Folds: a number of random ones, or whatever scikit-learn's ``cv`` takes. A sample
        in several test sets counts in the last.
    sparsities : array-like of float, default=None
        Points of the path of known latents, shares of ``sparsity_max_`` within (0, 1).
        None is eight from 0.03 to 0.8. Without known latents the path is
        that of whole numbers of latents, found by bisection.
    tolerance : float, default=None
        Share of what the best point explains that may be lost for a sparser one. None is
        0.02 for numbers of latents (in trials the last relevant one explained 2.5 % or more,
        a superfluous one hardly 1 %) and 0.005 for known latents, where a point drops
        single entries of the mask.
    n_subsamples : int, default=None
        Number of random half-samples to fit to as well, to see what comes back from them.
        None is none; 20 tell much, and take their time.
    penalty : {"auto", "l1", "hard_concrete"} or instance of a penalty, default="auto"
        Penalty on the mask: "l1" is ``L1()``, a sparse group lasso, "hard_concrete" is
        ``HardConcrete()``, random gates. "auto" is the gates for known latents, where they
        found the support at a wider range of strengths, and the lasso otherwise. Without
        known latents its weight is ``tolerance``.
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
        Epochs of a fit from scratch, such as that of reconstruction; the path of numbers of
        latents takes 0.6 of them, the fit to all samples 0.8 and heads without penalty a third.
        None is as many as make 25 updates times the root of the number of samples: 2,500 at
        10,000.
    batch_size : int, default=128
        Number of steps in a batch; whole sequences, at least 16 of them.
    learning_rate : float, default=0.03
        Largest learning rate of a one-cycle schedule, which makes so large a rate safe. A
        smaller one is stuck more often.
    input_noise : float or "auto", default="auto"
        Standard deviation of the normal noise that is added to the standardized features while
        the tasks are learned, so that networks do not learn rows by heart [2]_. "auto" tries 0
        and 0.3 at each number of latents and takes what predicts held-out samples better:
        curved tasks of many samples want none, few or noisy samples want some. Known latents
        have none.
    refit : bool, default=True
        Whether to train the heads again without penalty.
    early_stopping : bool, default=False
        Whether to hold out a tenth of the samples after step 1 too, stop when their loss
        no longer falls, and go back to the best epoch. By default all are learned from.
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
    random_state : int, RandomState instance or None, default=None
        Initial weights, batches and held-out samples. The same integer gives the same
        numbers; torch's global generator is not touched.
    verbose : int, default=0
        Whether skorch prints a line for each epoch.

    Attributes
    ----------
    sparsity_ : float
        The chosen point, a share of ``sparsity_max_``.
    tolerance_ : float
        The tolerance that was used.
    sparsity_max_ : float
        The task loss that the best point saves; a penalty of that weight leaves nothing.
    sparsity_path_ : ndarray of shape (n_points,), float64
        From 0, dense, to 1, empty: the smallest share that makes a point as good as all
        denser ones.
    scores_path_ : ndarray of shape (n_points, n_folds), float64
        Held-out share of the task loss that is explained: 1 minus the loss, in which
        knowing nothing costs 1.
    n_active_path_ : ndarray of shape (n_points,), float64
        Number of latents that some task uses, the mean over folds.
    support_path_ : ndarray of shape (n_points, n_tasks, n_components), float64
        Share of the folds in which a task may use a latent.
    best_index_ : int
        The chosen point.
    selection_frequency_ : ndarray of shape (n_components,) or (n_tasks, n_components), or None
        Share of the half-samples from which a kept latent comes back: its values can be
        read from the latents found there, with an R2 of 0.8. Of known latents, how often
        each entry of the mask is positive. None without ``n_subsamples``.
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
    SparseSpecialistEncoder : The sparsity is given.

    References
    ----------
    .. [1] Breiman, Friedman, Olshen and Stone, Classification and regression trees,
       Wadsworth 1984: the rule of one standard error.
    .. [2] Bishop, Training with noise is equivalent to Tikhonov regularization, Neural
       Computation 7, 1995.

    Examples
    --------
    >>> from skspecialist.datasets import make_specialist_latents
    >>> from skspecialist.encoder import SparseSpecialistEncoderCV
    >>> data = make_specialist_latents(400, 4, 2, n_layers=1, random_state=0)
    >>> encoder = SparseSpecialistEncoderCV(cv=2, max_epochs=30, random_state=0)
    >>> encoder = encoder.fit(data.X, data.y)
    >>> int(encoder.support_.sum())
    2
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSpecialistEncoder._parameter_constraints,
        "cv": ["cv_object"],
        "sparsities": ["array-like", None],
        "n_subsamples": [Interval(Integral, 2, None, closed="left"), None],
        "tolerance": [Interval(Real, 0, 1, closed="left"), None],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        cv: Any = 5,
        sparsities: Any = None,
        tolerance: float | None = None,
        n_subsamples: int | None = None,
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
        callbacks: list[Any] | None = None,
        device: str = "cpu",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.cv = cv
        self.sparsities = sparsities
        self.tolerance = tolerance
        self.n_subsamples = n_subsamples
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
        self.callbacks = callbacks
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    @all_or_nothing
    @fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        step_weights: Any = None,
        y_weight: Any = None,
        groups: Any = None,
    ) -> Self:
        """Choose the sparsity, then learn latents and mask.

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
        groups : array-like of shape (n_samples,), default=None
            For splitters that keep groups together.

        Returns
        -------
        self : SparseSpecialistEncoderCV
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
        tolerance = self.tolerance
        if tolerance is None:
            tolerance = ENTRY_TOLERANCE if self.hidden_layer_sizes is None else TOLERANCE
        with callback_context(self, X, y) as task:
            fit = self._learn(
                X,
                y,
                step_weights,
                y_weight,
                hold_out=lambda X, y, rng: self._folds(X, y, groups, rng),
                n_relevant=None,
                sparsity=max(tolerance, np.finfo(float).tiny),
                shares=self._shares(),
                n_halves=self.n_subsamples or 0,
                task=task,
            )
            assert fit.path is not None
            self._describe(fit.path)
            self.tolerance_ = tolerance
            self.selection_frequency_ = fit.frequency
        return self

    def _shares(self) -> tuple[float, ...]:
        if self.sparsities is None:
            return SHARES
        with naming("sparsities"):
            given = np.asarray(self.sparsities, dtype=float)
        shares = np.unique(given)
        if given.ndim != 1 or not len(shares) or not ((shares > 0) & (shares < 1)).all():
            raise ValueError(f"sparsities must be within (0, 1), got {self.sparsities!r}.")
        return tuple(shares.tolist())

    def _folds(self, X: np.ndarray, y: Any, groups: Any, rng: np.random.RandomState) -> np.ndarray:
        """Return the fold in which each sample is held out."""
        cv: Any = self.cv
        if cv is None or isinstance(cv, Integral):
            n_splits = min(cv or 5, len(X))
            cv = KFold(max(2, n_splits), shuffle=True, random_state=rng.randint(2**31 - 1))
        folds = np.full(len(X), -1)
        check_same_length(X=X, groups=groups)
        with naming("cv"):
            for fold, (_, test) in enumerate(check_cv(cv).split(X, y, groups)):
                folds[test] = fold
        present = np.unique(folds[folds >= 0])
        if not len(present):
            raise ValueError(f"cv={self.cv!r} holds out no sample.")
        folds[folds >= 0] = np.searchsorted(present, folds[folds >= 0])
        return folds

    def _describe(self, path: Path) -> None:
        """Set the attributes of the path, from dense to empty."""
        points = path.from_dense_to_empty()
        means = np.array([path.losses[point].mean(dtype=float) for point in points])
        self.sparsity_max_ = path.explained
        lost = (means - np.minimum.accumulate(means)) / (path.explained or 1.0)
        self.sparsity_path_ = np.maximum.accumulate(lost).clip(0.0, 1.0)
        self.sparsity_path_[-1] = 1.0
        if path.supports:
            self.sparsity_path_ = np.array(points)
        self.scores_path_ = 1.0 - np.array(
            [path.held_out.by_fold(path.losses[point]) for point in points]
        )
        shape = self.mask_.shape
        supports = [
            path.supports[point]
            if path.supports
            else np.broadcast_to(np.arange(shape[1]) < point, (1, *shape))
            for point in points
        ]
        self.support_path_ = np.array([support.mean(axis=0) for support in supports])
        self.n_active_path_ = np.array([s.any(axis=1).sum(axis=1).mean() for s in supports])
        self.best_index_ = points.index(path.chosen)
        self.sparsity_ = float(self.sparsity_path_[self.best_index_])
