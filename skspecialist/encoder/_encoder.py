"""Encoder into latents of which a sparse mask determines which task uses which."""

from __future__ import annotations

import os
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import fill_docstring, pinned_settings
from .._base.sklearn_compat import Interval, StrOptions
from .._data.validation import FLOATS, check_layer_sizes, check_numbers, validate_steps
from ..exceptions import warn
from ..networks.layers import Bottlenecks
from ..networks.penalties import BasePenalty
from ..networks.training import NO_FOLD, StepData, Trainer, seeded
from ._base import BaseSparseSpecialist
from ._docs import ENCODER_DOCS, SHARED_DOCS
from ._path import VALIDATION_FRACTION, GivenSparsityMixin, SparsityPath
from ._rotation import rotate_latents
from ._search import Found, Inputs, Start, search_width
from ._training import (
    Build,
    SpecialistAutoencoder,
    decode,
    encode,
    noise_of,
    refit_heads,
    with_decoder,
)

__all__ = ["LatentEncoder", "SparseSpecialistEncoder"]

EXPLAINED_VARIANCE = 0.999  # share for the principal components that n_components=None counts
MAX_COMPONENTS = 32  # largest number of latents with n_components=None
INDEPENDENCE_WEIGHT = 0.3  # default
NOISES = (0.0, 0.3)  # noises on the features of input_noise="auto"


class LatentEncoder(ClassNamePrefixFeaturesOutMixin, BaseSparseSpecialist):
    """Base of the encoders: latents are learned, and decoded again."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BaseSparseSpecialist._parameter_constraints,
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "independence_weight": [Interval(Real, 0, None, closed="left")],
        "decoder": [StrOptions({"lazy", "fit"}), None],
        "hidden_layer_sizes": [tuple, list],
        "input_noise": [Interval(Real, 0, None, closed="left"), StrOptions({"auto"})],
    }
    _default_penalty = "l1"
    _found: Found  # by the search
    _given: Found | None = None  # by that of another fit, which the next fit starts from

    def _hidden(self) -> tuple[int, ...]:
        return check_layer_sizes(self.hidden_layer_sizes)

    @property
    def _noises(self) -> tuple[float, float]:
        """Noises in the search: a given one twice, since a training can end in a poor optimum."""
        return NOISES if self.input_noise == "auto" else (float(self.input_noise),) * 2

    def _count_latents(self, X: np.ndarray, row_weights: np.ndarray | None) -> int:
        n_relevant = getattr(self, "n_relevant", None) or 1
        if self.n_components is None:
            n_features = X.shape[-1]
            covariance = np.cov(X.reshape(-1, n_features).T, aweights=row_weights)
            variances = np.linalg.eigvalsh(np.atleast_2d(covariance))[::-1]
            total = EXPLAINED_VARIANCE * variances.sum()
            needed = int(np.searchsorted(np.cumsum(variances), total)) + 1
            n_latents = min(max(needed, n_relevant), MAX_COMPONENTS, n_features)
        else:
            n_latents = int(self.n_components)
        if n_relevant > n_latents:
            raise ValueError(
                f"n_relevant={n_relevant} exceeds the number of latents, {n_latents}: raise "
                "n_components."
            )
        return n_latents

    def _learn(self, data: StepData, trainer: Trainer, build: Build) -> None:
        # 1. The number of latents, and networks to start from.
        self.n_components_ = self._n_latents
        start = self._find_width(data, trainer, build)
        everything = replace(data, folds=torch.full_like(data.folds, NO_FOLD))
        if self._rotates(start) and self.penalty != "auto":
            warn(f"penalty={self.penalty!r} has no effect: a rotation makes linear heads sparse.")

        # 2. The latents and the mask. 3. The heads without penalty, on the latents they kept.
        bottleneck = self._learn_latents(everything, trainer, start)
        if start.path is not None:
            bottleneck = self._retry_lost_tasks(everything, trainer, start, bottleneck)
        width = start.width

        # 4. The other latents and the decoder, in most fits not before they are needed.
        self.input_noise_ = round(float(bottleneck.encoders.noise), 6)
        self._publish(SpecialistAutoencoder(bottleneck, self.n_components_))
        self._prepare_decoder(everything, trainer)
        if self.independence_weight != INDEPENDENCE_WEIGHT and not 0 < width < self.n_components_:
            whose = "no latents" if width == 0 else "all latents"
            warn(
                f"independence_weight={self.independence_weight} has no effect: the tasks have "
                f"{whose}."
            )
        n_kept = self._n_features_out
        if n_kept and n_kept == self._n_outputs:
            warn(
                f"The tasks use {n_kept} latents, as many as they have outputs: the latents may "
                "be the tasks' own values instead of the latents behind them. To separate "
                "them takes more tasks."
            )
        self._check_stability(everything, trainer, build)

    def _rotates(self, start: Start) -> bool:
        """Return whether a rotation, in place of the penalty, makes linear heads sparse."""
        return self.heads == "linear" and start.weight > 0 and start.width > 1

    def _learn_latents(self, data: StepData, trainer: Trainer, start: Start) -> Bottlenecks:
        """Train latents, mask and heads on all samples."""
        rotates = self._rotates(start)
        bottleneck = self._train(
            replace(data, X=start.inputs.data.X),
            trainer,
            start.inputs.build,
            start.width,
            start.networks,
            sparsity=0.0 if rotates else start.weight,
            share=start.share,
            noise=start.noise / start.inputs.scale,
        )
        start.inputs.restore(bottleneck)
        if rotates:
            self.inseparable_groups_ = rotate_latents(data, bottleneck, self._n_classes)
        else:
            kept = bottleneck.task_mask()[0].any(dim=0).nonzero()[:, 0].tolist()
            self.inseparable_groups_ = [tuple(kept)] if len(kept) > 1 else []
        if start.width > 0:
            net = refit_heads(data, trainer, bottleneck, from_scratch=rotates)
            self._record("refit", net)
        return bottleneck

    def _retry_lost_tasks(
        self, data: StepData, trainer: Trainer, start: Start, bottleneck: Bottlenecks
    ) -> Bottlenecks:
        """Train again, from scratch, if a task is predicted worse than by a linear model."""
        assert start.path is not None
        lost = start.path.lost_tasks(bottleneck)
        # Other random numbers first; then the features themselves, and no penalty.
        plain = Inputs(start.path.data, start.build)
        weight = start.weight if self.heads == "linear" else 0.0
        for retry in (
            replace(start, networks=None),
            replace(start, networks=None, inputs=plain, weight=weight),
        ):
            if not lost.any() or start.width == 0:
                break
            groups, n_iter = self.inseparable_groups_, self.n_iter_
            other = self._learn_latents(data, trainer, retry)
            still_lost = start.path.lost_tasks(other)
            if still_lost.sum() < lost.sum():
                bottleneck, lost = other, still_lost
            else:
                self.inseparable_groups_, self.n_iter_ = groups, n_iter
        if lost.any():
            learned = np.flatnonzero(self.tasks_.learned)[lost]
            names = ", ".join(str(self.tasks_.names[task]) for task in learned)
            warn(
                f"Lost tasks: held-out values of {names} are predicted worse than by ridge "
                "regression on the same features. They may be linear in many features: compare "
                "with a linear model, or raise n_components."
            )
        return bottleneck

    def _find_width(self, data: StepData, trainer: Trainer, build: Build) -> Start:
        """Return the number of latents, and all that the training begins with."""
        raise NotImplementedError

    def _search_width(
        self,
        data: StepData,
        trainer: Trainer,
        build: Build,
        tolerance: float,
        n_latents: int | None = None,
    ) -> tuple[Start, SparsityPath]:
        path, given = SparsityPath(data, self._n_classes, tolerance), self._given
        if given is not None and not given.fits(path, self.n_components_):
            given = None
        # More latents than outputs are never needed: the outputs themselves would do.
        max_width = max(min(self.n_components_, self._n_outputs), n_latents or 0)
        noises: tuple[float, ...] = self._noises
        if given is not None:
            n_latents, noises, path.progress = given.width, (given.noise,), given.progress
        inputs = Inputs.tried(data, build, np.asarray(self._scaler.scale_), given)
        narrow, chosen = search_width(
            path, trainer, inputs, max_width, noises, n_latents, is_brief=given is not None
        )
        self._record("search", *path.nets)
        width, noise, weight = 0, 0.0, tolerance * (given or path).explained
        if narrow is not None:
            width, noise = narrow.encoders.n_latents, noise_of(narrow)[0] * chosen.scale
        start = Start(width, narrow, weight, chosen, build, noise, path)
        self._found, self._given = given or Found.of(start, path), None
        return start, path

    def _check_stability(self, data: StepData, trainer: Trainer, build: Build) -> None:
        """Fit to half-samples, if that was asked for."""

    def _prepare_decoder(self, data: StepData, trainer: Trainer) -> None:
        """Train the decoder, or keep all that its training needs."""
        self._decoder_inputs: dict[str, Any] | None = None
        if self.decoder is None:
            return
        # The seed is drawn in either case: when the decoder is trained does not change it.
        # Other parameters and data could not be had again later, so that they are kept: the
        # rows in single precision, and only until the decoder is trained.
        self._decoder_inputs = {
            "X": data.X.numpy(),
            "row_weights": data.row_weights.numpy(),
            "seed": int(torch.randint(2**31 - 1, ())),
            "hidden": self._hidden(),
            "independence_weight": float(self.independence_weight),
            "trainer": {
                name: getattr(trainer, name)
                for name in ("learning_rate", "max_epochs", "batch_size", "early_stopping")
            },
            "device": trainer.device,
        }
        if self.decoder == "fit":
            self._train_decoder(trainer)

    def _train_decoder(self, trainer: Trainer | None = None) -> SpecialistAutoencoder:
        """Return the networks with decoder and other latents, trained at the first call."""
        if self.module_.decoder is not None:
            return self.module_
        if self._decoder_inputs is None:
            raise ValueError(
                "decoder=None: latents that no task uses, and reconstructions, need a fit with "
                "decoder='lazy' or decoder='fit'."
            )
        inputs = self._decoder_inputs
        with pinned_settings(), seeded(inputs["seed"], inputs["device"]):
            if self._decoder_inputs is None:
                return self.module_  # another thread was faster
            ones = np.broadcast_to(np.float32(1), (*inputs["X"].shape[:2], 1))
            data = StepData.from_arrays(
                inputs["X"], ones, [np.zeros(len(ones))], row_weights=inputs["row_weights"]
            )
            trainer = trainer or Trainer(**inputs["trainer"], device=inputs["device"])
            options = {name: inputs[name] for name in ("hidden", "independence_weight")}
            module, net = with_decoder(self.module_, data, trainer, **options)
            self._record("reconstruction", net)
            self.module_, self._decoder_inputs = module, None
        return module

    def _with_other_latents(self) -> SpecialistAutoencoder:
        if self.module_.n_relevant == self.module_.n_latents:
            return self.module_
        return self._train_decoder()

    def _task_latents(self, X: Any) -> np.ndarray:
        """Return all latents, those that no task uses as zeros: they need no decoder."""
        relevant = self._relevant_latents(X)
        latents = np.zeros((*relevant.shape[:-1], self.n_components_), dtype=relevant.dtype)
        latents[..., self.support_] = relevant
        return latents

    def transform(self, X: Any) -> np.ndarray:
        """Return the latents that some task uses.

        Parameters
        ----------
        X : array-like of shape (n_steps, n_features) or (n_sequences, n_timesteps, n_features)
            Single steps, or sequences of them.

        Returns
        -------
        latents : ndarray of shape (..., n_support)
            In the dtype of ``X`` (float32 or float64).
        """
        return self._relevant_latents(X)

    def _relevant_latents(self, X: Any) -> np.ndarray:
        check_is_fitted(self)
        X = validate_steps(self, X, reset=False)
        latents = encode(self.module_.bottleneck.encoders, self._scale(X))
        used = self.support_[: latents.shape[-1]]
        return latents[..., used].astype(X.dtype, copy=False)

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Decode the latents that some task uses, all others at their mean.

        With ``decoder="lazy"`` the first call trains the decoder, and takes its time.

        Parameters
        ----------
        X : array-like of shape (..., n_support)
            Latents as :meth:`transform` returns them, of steps or of sequences.

        Returns
        -------
        features : ndarray of shape (..., n_features)
            Reconstructed features.

        Raises
        ------
        ValueError
            If ``X`` has another number of latents, or the fit had ``decoder=None``.
        """
        check_is_fitted(self)
        X = check_numbers(X, "X", dtype=FLOATS, allow_nd=True, ensure_min_features=0)
        if X.shape[-1] != self._n_features_out:
            raise ValueError(
                f"X has {X.shape[-1]} latents, but {self._n_features_out} are in the support."
            )
        latents = np.zeros((*X.shape[:-1], self.n_components_))
        latents[..., self.support_] = X
        rows = decode(self._train_decoder(), latents.reshape(-1, self.n_components_))
        features = self._scaler.inverse_transform(rows).reshape(*X.shape[:-1], -1)
        return features.astype(X.dtype, copy=False)


@fill_docstring(SHARED_DOCS, ENCODER_DOCS)
class SparseSpecialistEncoder(GivenSparsityMixin, LatentEncoder):
    """Sparse specialist encoder: latents, and a mask of the latents that each task uses.

    An encoder of the features and one small head per task, which reads the latents that a
    non-negative mask between tasks and latents admits [1]_; further latents, which no task
    reads, and a decoder of all of them. The latents that some task uses are then identified as
    a block, apart from everything else in the data: provided that there are at least as many
    task outputs as such latents; otherwise the encoder may return the task functions themselves.

    ``fit`` takes four steps. (1) *Number of latents*: an encoder into as many latents as the
    tasks have outputs learns the tasks, from the features or their principal axes, standardized
    or not and all or fewer of them: held-out losses decide. The rank of its slopes proposes a
    number of latents, and narrower encoders, which begin as parts of it, check it: the smallest
    number is taken that predicts held-out samples about as well as the best, in each task and on
    average. A mask alone often keeps
    one latent too many, which then contains what no task uses. (2) *Mask*: the best of these
    is trained further, now with the penalty on its mask; a proximal step in the metric of
    Adam [2]_ sets entries to exactly zero. Linear heads determine latents up to a rotation only:
    theirs are rotated to where each task reads few of them
    (:func:`~skspecialist.encoder.sparse_rotation`), and a sparse regression of each task on
    them selects its row of the mask, which the penalty then hardly affects. (3) *Refit*: the
    heads again, without penalty, on the latents they kept. (4) *Reconstruction*: these latents
    stay fixed while others, made independent of them, learn what else the decoder needs, by
    default not before they are needed (``decoder``). Reconstruction therefore cannot change the
    latents of the tasks.

    Parameters
    ----------
    {n_components}
    n_relevant : int, default=None
        Number of latents that the tasks may use, where it is known; step 1 then only finds the
        inputs and a start for them. None estimates it.
    sparsity : float, default=0.02
        From 0, dense, to 1, empty: the share of its explained loss that each task may lose for
        fewer latents (two standard errors are granted in addition from the proposed number
        on, one where there is none). The same
        share of ``sparsity_max_`` is the weight of the penalty. In trials the last relevant
        latent explained 2.5 % or more, and a superfluous one hardly 1 %. 0 takes as many
        latents as the tasks have outputs, or ``n_relevant``, without step 1 or penalty.
    {penalty}
    {heads}
    {hidden_layer_sizes}
    {independence_weight}
    {decoder}
    {task_weight}
    {task_types}
    max_epochs : int, default=None
        Epochs of a training from scratch, such as step 4; step 1 takes 0.2 of them, step 2 0.8
        if it continues step 1, or 0.3 where longer training hardly lowered held-out losses, and
        step 3 a third. None is as many as make 25 updates times
        the root of the number of samples: 2,500 at 10,000.
    {batch_size}
    {learning_rate}
    {input_noise}
    {early_stopping}
    {validation_fraction}
    {callbacks}
    {device}
    {checkpoint_dir}
    {warm_start}
    {random_state}
    {verbose}

    Attributes
    ----------
    width_losses_ : dict of {int: float} or None
        Held-out task loss by number of latents, for those that step 1 tried, in units of the
        loss of the null model. None without step 1: with ``warm_start`` or ``sparsity=0``.
    sparsity_max_ : float or None
        The task loss of the null model minus that of the best model. None without step 1.
    {latent_attributes}
    {fit_attributes}

    See Also
    --------
    SparseSpecialistEncoderCV : Sparsity chosen by cross-validation.
    SparseMultiTaskSelector : The columns of the input as latents.

    References
    ----------
    {references}

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
        **LatentEncoder._parameter_constraints,
        **GivenSparsityMixin._parameter_constraints,
        "n_relevant": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        n_relevant: int | None = None,
        sparsity: float = 0.02,
        penalty: str | BasePenalty = "auto",
        heads: str = "mlp",
        hidden_layer_sizes: tuple[int, ...] = (128, 128),
        independence_weight: float = INDEPENDENCE_WEIGHT,
        decoder: str | None = "lazy",
        task_weight: Any = None,
        task_types: Any = None,
        max_epochs: int | None = None,
        batch_size: int = 128,
        learning_rate: float = 0.03,
        input_noise: float | str = "auto",
        early_stopping: bool = False,
        validation_fraction: float = VALIDATION_FRACTION,
        callbacks: list[Any] | None = None,
        device: str | torch.device = "cpu",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.n_relevant = n_relevant
        self.sparsity = sparsity
        self.penalty = penalty
        self.heads = heads
        self.hidden_layer_sizes = hidden_layer_sizes
        self.independence_weight = independence_weight
        self.decoder = decoder
        self.task_weight = task_weight
        self.task_types = task_types
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.input_noise = input_noise
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.callbacks = callbacks
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def _find_width(self, data: StepData, trainer: Trainer, build: Build) -> Start:
        plain, noise = Inputs(data, build), self._noises[0]
        previous = self._previous()
        self.width_losses_, self.sparsity_max_ = None, None
        if previous is not None or self.sparsity == 0:
            self._warn_without_search()
        if previous is not None:
            if self.n_relevant not in (None, previous.n_relevant):
                warn(
                    f"n_relevant={self.n_relevant} has no effect: with warm_start the number of "
                    f"latents is that of the previous fit, {previous.n_relevant}."
                )
            networks = previous.bottleneck
            return Start(previous.n_relevant, networks, self.sparsity, plain, build, noise)
        if self.sparsity == 0:
            width = self.n_relevant or min(self.n_components_, self._n_outputs)
            return Start(width, None, 0.0, plain, build, noise)
        start = self._search_width(data, trainer, build, self.sparsity, self.n_relevant)[0]
        self.width_losses_, self.sparsity_max_ = dict(self._found.losses), self._found.explained
        return start

    def _follow(self, other: Any) -> None:
        """Let the next fit start from the results of the search of another, without its own."""
        self._given = getattr(other, "_found", None)
