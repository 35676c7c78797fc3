"""Encoder that chooses its sparsity by cross-validation."""

from __future__ import annotations

import os
from typing import Any, ClassVar

import numpy as np
import torch

from .._base.estimator import fill_docstring
from ..networks.penalties import BasePenalty
from ..networks.training import StepData, Trainer
from ._diagnostics import latent_stability
from ._docs import ENCODER_DOCS, SHARED_DOCS
from ._encoder import INDEPENDENCE_WEIGHT, LatentEncoder
from ._path import SearchedSparsityMixin
from ._search import Start
from ._training import Build

__all__ = ["SparseSpecialistEncoderCV"]


@fill_docstring(SHARED_DOCS, ENCODER_DOCS)
class SparseSpecialistEncoderCV(SearchedSparsityMixin, LatentEncoder):
    """Sparse specialist encoder that chooses its sparsity by cross-validation.

    The path from dense to empty is one of the number of latents that the tasks may use. The
    sparsest point is taken whose held-out loss exceeds that of the best, in no task, by more than
    ``tolerance`` of the loss that the best explains and one standard error [4]_. The standard
    error is one over folds: over samples it shrinks with their number, but the randomness of
    the training does not, and one latent too many would often be kept. Dense networks of all
    folds learn side by side, and so do narrow ones of the numbers near the rank of their
    slopes, which are the points of the path. Then the encoder is fitted to all samples, as
    :class:`SparseSpecialistEncoder`.

    Parameters
    ----------
    {n_components}
    {cv}
    tolerance : float, default=0.02
        Share of its explained loss that each task may lose for a sparser point.
        In trials the last relevant latent explained 2.5 % or more, and a superfluous one hardly
        1 %. The same share of ``sparsity_max_`` is the weight of the penalty.
    {n_subsamples}
    {penalty}
    {heads}
    {hidden_layer_sizes}
    {independence_weight}
    {decoder}
    {task_weight}
    {task_types}
    max_epochs : int, default=None
        Epochs of a training from scratch, such as that of reconstruction; the path takes 0.2 of
        them, the fit to all samples 0.8 and heads without penalty a third. None is as many as
        make 25 updates times the root of the number of samples: 2,500 at 10,000.
    {batch_size}
    {learning_rate}
    {input_noise}
    {early_stopping}
    {callbacks}
    {device}
    {checkpoint_dir}
    {random_state}
    {verbose}

    Attributes
    ----------
    {path_attributes}
    selection_frequency_ : ndarray of shape (n_components,) or None
        Share of the half-samples from which a kept latent is recovered: the latents found there
        predict its values with an R2 of 0.8. None without ``n_subsamples``.
    {latent_attributes}
    {fit_attributes}

    See Also
    --------
    SparseSpecialistEncoder : Given sparsity.
    SparseMultiTaskSelectorCV : The columns of the input as latents.

    References
    ----------
    {references}
    .. [4] Breiman, Friedman, Olshen and Stone, Classification and regression trees,
       Wadsworth 1984, section 3.4.3: the rule of one standard error.

    Examples
    --------
    >>> from skspecialist.datasets import make_specialist_latents
    >>> from skspecialist.encoder import SparseSpecialistEncoderCV
    >>> data = make_specialist_latents(400, 4, 2, n_layers=1, random_state=0)
    >>> encoder = SparseSpecialistEncoderCV(cv=2, max_epochs=60, random_state=0)
    >>> encoder = encoder.fit(data.X, data.y)
    >>> int(encoder.support_.sum())
    2
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **LatentEncoder._parameter_constraints,
        **SearchedSparsityMixin._parameter_constraints,
    }

    def __init__(
        self,
        n_components: int | None = None,
        *,
        cv: Any = 5,
        tolerance: float = 0.02,
        n_subsamples: int | None = None,
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
        callbacks: list[Any] | None = None,
        device: str | torch.device = "cpu",
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.cv = cv
        self.tolerance = tolerance
        self.n_subsamples = n_subsamples
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
        self.callbacks = callbacks
        self.device = device
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

    def _find_width(self, data: StepData, trainer: Trainer, build: Build) -> Start:
        found, path = self._search_width(data, trainer, build, self._positive_tolerance)
        shape = (1, len(self._n_classes), self.n_components_)
        supports = [
            np.broadcast_to(np.arange(self.n_components_) < point, shape) for point in path.points
        ]
        # The loss of a point is the smallest share at which no denser point is better by more.
        losses = path.mean_losses
        lost = (losses - np.minimum.accumulate(losses)) / (path.explained or 1.0)
        self.sparsity_path_ = np.maximum.accumulate(lost).clip(0.0, 1.0)
        self.sparsity_path_[-1] = 1.0
        self._describe(path, supports)
        return found

    def _check_stability(self, data: StepData, trainer: Trainer, build: Build) -> None:
        self.selection_frequency_ = np.zeros(self.n_components_) if self.n_subsamples else None
        if self.n_subsamples and self.module_.n_relevant > 0:
            self.selection_frequency_ = latent_stability(
                data, trainer, build, self.module_, self.n_subsamples
            )
