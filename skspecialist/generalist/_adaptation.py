"""A pretrained module with linear heads of tasks, and the ways to adapt it.

References
----------
.. [1] A. Kumar, A. Raghunathan, R. Jones, T. Ma and P. Liang, "Fine-tuning can distort
   pretrained features and underperform out-of-distribution", ICLR 2022.
.. [2] M. Zhao, T. Lin, F. Mi, M. Jaggi and H. Schütze, "Masking as an efficient alternative to
   finetuning for pretrained language models", EMNLP 2020.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.model_selection import GroupKFold, KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.func import functional_call
from torch.nn import functional
from torch.nn.utils import prune

from .._base.sklearn_compat import safe_indexing
from .._data.tasks import split_columns
from .._data.weights import merge_samples
from .._stats.model_comparison import best_sharpness, standard_error
from ..networks.training import StepData, Trainer
from ._attention import with_open_heads
from ._modules import as_vectors, call, n_parameters, placed, shaped, weights_of
from ._pruning import prune_to

__all__ = ["Adapted", "compare", "folds_of", "merge", "n_operations"]

CHUNK = 256  # rows in a pass without gradients
# Rows that decide about the importance of units.
N_SCORED = 512
# Penalties of the squared coefficients of linear heads, on standardized features.
PENALTIES = np.logspace(-2, 4, 13)
# Range of the initial scores of weights: one-cycle training with the default learning rate
# moves a score by at most about 0.3 in 250 steps, so that most weights can change their state.
SCORE_RANGE = 0.1


class Adapted(nn.Module):
    """A module, and linear heads of the tasks on its output.

    Parameters
    ----------
    body : Module
        The pretrained module, which is changed by the training.
    input_shape : tuple of int
        Shape of a row that it takes.
    preprocess, pooling : callable or str or None
        As in :class:`TorchGeneralist`.
    n_classes : list of int
        Number of classes of each task, 0 for an amount.
    """

    loss_names = ("task_loss",)

    def __init__(
        self,
        body: nn.Module,
        input_shape: tuple[int, ...],
        preprocess: Callable[[Any], Any] | None,
        pooling: Any,
        n_classes: Sequence[int],
    ) -> None:
        super().__init__()
        self.body, self.input_shape = body, input_shape
        self.preprocess, self.pooling = preprocess, pooling
        self.n_classes = list(n_classes)
        self.head = nn.Linear(1, sum(self.n_outputs))

    @property
    def n_outputs(self) -> list[int]:
        """Number of outputs of each task: one, or one per class."""
        return [max(1, count) for count in self.n_classes]

    def train(self, mode: bool = True) -> Adapted:
        """Set the mode, but of normalizations, whose statistics few samples would spoil."""
        super().train(mode)
        for layer in self.modules():
            if isinstance(layer, nn.modules.batchnorm._NormBase):
                layer.eval()
        return self

    def features(self, X: torch.Tensor) -> torch.Tensor:
        """Return the output of the module, (n_rows, n_features)."""
        rows = shaped(X.flatten(1), self.input_shape, self.preprocess)
        inputs = placed(rows, str(X.device), self.head.weight.dtype)
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        return as_vectors(call(self.body, inputs), self.pooling, mask, len(X), "module")

    def forward(self, X: torch.Tensor, step_weights: Any = None) -> torch.Tensor:
        """Return standardized values, and logits, (n_rows, n_outputs)."""
        return self.head(self.features(X))

    def row_losses(self, outputs: torch.Tensor, truth: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return the loss of each row, the mean over the tasks."""
        losses = []
        for task, block in enumerate(outputs.split(self.n_outputs, dim=1)):
            target = truth["targets"][:, task]
            if self.n_classes[task]:
                losses.append(functional.cross_entropy(block, target.long(), reduction="none"))
            else:
                losses.append((block[:, 0] - target) ** 2)
        return (torch.stack(losses, dim=1) * truth["weights"]).mean(dim=1)

    def losses(
        self, outputs: torch.Tensor, truth: Mapping[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Return the objective, for the training loop."""
        return {"task_loss": self.row_losses(outputs, truth).mean()}

    @torch.no_grad()
    def run(self, X: torch.Tensor, *, features: bool = False) -> np.ndarray:
        """Return the outputs, or the features, of many rows in evaluation mode."""
        self.eval()
        function = self.features if features else self
        return torch.cat([function(chunk) for chunk in X.split(CHUNK)]).double().numpy()

    def fit_head(self, data: StepData) -> None:
        """Fit the head alone: fine-tuning from there distorts the features less [1]_."""
        features = self.run(data.X, features=True)
        scaler = StandardScaler().fit(features)
        rows, coefs, intercepts = scaler.transform(features), [], []
        for task, count in enumerate(self.n_classes):
            weights = data.weights[:, task].double().numpy()
            kept = weights > 0
            target = data.targets[:, task].double().numpy()[kept]
            coef, intercept = _linear_model(rows[kept], target, weights[kept], count)
            coefs.append(coef / scaler.scale_)
            intercepts.append(intercept - coefs[-1] @ scaler.mean_)
        head = nn.Linear(features.shape[1], sum(self.n_outputs))
        with torch.no_grad():
            head.weight.copy_(torch.from_numpy(np.vstack(coefs)))
            head.bias.copy_(torch.from_numpy(np.concatenate(intercepts)))
        self.head = head

    @torch.no_grad()
    def sharpen(self, sharpness: Sequence[float]) -> None:
        """Multiply the logits of each task by the exponential of its sharpness."""
        factors = torch.tensor(np.repeat(np.exp(sharpness), self.n_outputs))
        self.head.weight.mul_(factors[:, None])
        self.head.bias.mul_(factors)

    def adapt(
        self,
        data: StepData,
        trainer: Trainer,
        *,
        strategy: str,
        importance: str,
        granularity: str,
        keep: float,
    ) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
        """Fit the heads and, unless the strategy is "head", change the module.

        Returns
        -------
        masks : dict of {str: ndarray of bool}
            Units or weights that are kept, by the names of layers or weights.
        history : list of dict
            Losses of the epochs.
        """
        self.eval()
        self.fit_head(data)
        masks: dict[str, np.ndarray] = {}
        if strategy == "head":
            return masks, []
        if strategy == "prune":
            with_open_heads(self.body)
            # A random choice, and as many rows as can be traced.
            index = torch.randperm(len(data))[:N_SCORED]
            some = data.take(index if len(index) > 4 else index.repeat(5)[:5])
            target = round(keep * n_parameters(self.body)) + n_parameters(self.head)
            masks = prune_to(self, target, some, importance=importance, granularity=granularity)
            self.fit_head(data)
        if strategy == "mask":
            with_open_heads(self.body)
            self.body = MaskedWeights(self.body, keep)
        net = trainer.train(self, data, may_stop_early=True)
        if isinstance(self.body, MaskedWeights):
            masks = self.body.masks()
            self.body = self.body.merged()
        for layer in self.modules():
            if hasattr(layer, "weight_mask"):
                prune.remove(layer, "weight")
        history = [
            {"epoch": row["epoch"]}
            | {key: float(row[key]) for key in sorted(row) if key.endswith("_loss")}
            for row in net.history
        ]
        return masks, history


def _linear_model(
    rows: np.ndarray, target: np.ndarray, weights: np.ndarray, n_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return coefficients (n_outputs, n_features) and intercepts of a regularized linear model."""
    if not n_classes:
        model = RidgeCV(PENALTIES).fit(rows, target, sample_weight=weights)
        return model.coef_[None], np.array([model.intercept_])
    coef = np.zeros((n_classes, rows.shape[1]))
    # Half a sample of each class (Krichevsky and Trofimov 1981), which may be absent from a fold.
    counts = np.bincount(target.astype(int), weights, minlength=n_classes) + 0.5
    intercept = np.log(counts / counts.sum())
    found = np.unique(target.astype(int))
    if len(found) > 1:
        model = LogisticRegression(max_iter=1000).fit(rows, target, sample_weight=weights)
        is_binary = len(found) == 2
        coef[found] = np.vstack([-model.coef_, model.coef_]) / 2 if is_binary else model.coef_
        absent = intercept - intercept.max()
        own = np.append(-model.intercept_, model.intercept_) / 2 if is_binary else model.intercept_
        intercept = absent + own.min()
        intercept[found] = own
    return coef, intercept


class _Threshold(torch.autograd.Function):
    """Step function whose gradient is that of the identity (equations 2 and 3 of [2]_)."""

    @staticmethod
    def forward(ctx: Any, scores: torch.Tensor) -> torch.Tensor:
        """Return one where the score is positive, else zero."""
        return (scores > 0).to(scores)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        """Return the gradient as it is."""
        return gradients[0]


class MaskedWeights(nn.Module):
    """A module whose weights are multiplied by binary masks, which are learned [2]_.

    The module itself is not trained.

    Parameters
    ----------
    body : Module
        The module.
    keep : float
        Share of the weights that are not masked in the beginning, chosen at random.
    """

    def __init__(self, body: nn.Module, keep: float) -> None:
        super().__init__()
        self.body = body.requires_grad_(False)
        self.names = weights_of(body)
        scores = []
        for name in self.names:
            draws = torch.rand_like(body.get_parameter(name))
            # Below zero with probability 1 - keep.
            scores.append(nn.Parameter(SCORE_RANGE * (draws - (1 - keep)), requires_grad=True))
        self.scores = nn.ParameterList(scores)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return the masked weights by name."""
        pairs = zip(self.names, self.scores, strict=True)
        return {n: self.body.get_parameter(n) * _Threshold.apply(s) for n, s in pairs}

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the output of the module with masked weights."""
        return functional_call(self.body, self.weights(), args, kwargs)

    def masks(self) -> dict[str, np.ndarray]:
        """Return which weights are kept."""
        pairs = zip(self.names, self.scores, strict=True)
        return {name: (scores > 0).detach().cpu().numpy() for name, scores in pairs}

    @torch.no_grad()
    def merged(self) -> nn.Module:
        """Return the module, with its masked weights set to zero."""
        for name, weight in self.weights().items():
            self.body.get_parameter(name).copy_(weight)
        return self.body.requires_grad_(True)


def held_out_losses(
    outputs: np.ndarray, data: StepData, n_classes: Sequence[int]
) -> tuple[np.ndarray, list[float]]:
    """Return the loss of each held-out row, and the sharpness of each task's probabilities."""
    losses, sharpness = np.zeros(len(outputs)), []
    blocks = np.split(outputs, np.cumsum([max(1, n) for n in n_classes])[:-1], axis=1)
    for task, (block, count) in enumerate(zip(blocks, n_classes, strict=True)):
        weights = data.weights[:, task].double().numpy()
        target, kept = data.targets[:, task].double().numpy(), weights > 0
        sharpness.append(0.0)
        if count:
            codes = target.astype(int)
            sharpness[-1] = best_sharpness(block[kept], codes[kept], weights[kept])
            likelihoods = log_softmax(np.exp(sharpness[-1]) * block, axis=1)
            own = -likelihoods[np.arange(len(codes)), codes]
        else:
            own = (block[:, 0] - target) ** 2
        losses += weights * own / len(n_classes)
    return losses, sharpness


def merge(
    X: np.ndarray, y: Any, counts: np.ndarray, groups: Any, folds: list[Any] | None
) -> tuple[np.ndarray, Any, np.ndarray, Any, list[Any] | None]:
    """Return one sample, with the sum of the weights, for equal ones in the same folds."""
    labels = [] if groups is None else [np.asarray(groups)]
    labels += [np.isin(np.arange(len(X)), test) for _, test in folds or []]
    columns = split_columns(y, allow_missing=True)[0]
    index, counts, places = merge_samples(counts, [X], columns, labels)
    if np.array_equal(index, np.arange(len(X))):
        return X, y, counts, groups, folds
    groups = None if groups is None else np.asarray(groups)[index]
    # Samples of weight zero have no place.
    kept = [tuple(np.setdiff1d(places[part], [-1]) for part in pair) for pair in folds or []]
    return X[index], safe_indexing(y, index), counts, groups, kept if folds else folds


def folds_of(
    codes: list[np.ndarray], groups: np.ndarray | None, n_folds: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return random folds: of whole groups, or stratified for one task of labels."""
    everyone, labels = np.zeros(len(codes[0])), None
    kind: Any = KFold
    n_folds = min(n_folds, len(everyone) if groups is None else len(np.unique(groups)))
    if n_folds < 2:
        return []
    if groups is not None:
        return list(GroupKFold(n_folds).split(everyone, groups=groups))
    if len(codes) == 1 and codes[0].dtype.kind == "i":
        labels = codes[0]
        if np.unique(labels, return_counts=True)[1].min() >= n_folds:
            kind = StratifiedKFold
    return list(kind(n_folds, shuffle=True, random_state=seed).split(everyone, labels))


@dataclass
class Comparison:
    """Strategy that is used, the sharpness of its logits, and the evidence."""

    strategy: str
    sharpness: list[float]
    losses: dict[str, float]
    reason: str


def compare(
    build: Callable[[], Adapted],
    data: StepData,
    folds: Sequence[tuple[np.ndarray, np.ndarray]],
    trainer: Trainer,
    strategy: str,
    options: dict[str, Any],
) -> Comparison:
    """Compare a strategy with the heads alone by the losses of held-out samples."""
    n_classes = build().n_classes
    if not folds:
        return Comparison(strategy, [0.0] * len(n_classes), {}, "there was no comparison")
    outputs: dict[str, np.ndarray] = {}
    held_out = np.zeros(len(data), dtype=bool)
    for train, test in folds:
        for name in ("head", strategy):
            net = build()
            net.adapt(data.take(torch.from_numpy(train)), trainer, strategy=name, **options)
            rows = outputs.setdefault(name, np.zeros((len(data), sum(net.n_outputs))))
            rows[test] = net.run(data.X[torch.from_numpy(test)])
        held_out[test] = True
    some = data.take(torch.from_numpy(np.flatnonzero(held_out)))
    found = {n: held_out_losses(rows[held_out], some, n_classes) for n, rows in outputs.items()}
    losses = {name: float(each.mean()) for name, (each, _) in found.items()}
    excess = found[strategy][0] - found["head"][0]
    # A smaller module is worth as much as a standard error; the others have to win.
    tolerated = float(np.nan_to_num(standard_error(excess))) if strategy == "prune" else 0.0
    chosen = strategy if excess.mean() <= tolerated else "head"
    listed = ", ".join(f"{name} {loss:.3g}" for name, loss in losses.items())
    reason = f"held-out losses: {listed}; tolerated difference {tolerated:.2g}"
    return Comparison(chosen, found[chosen][1], losses, reason)


def n_operations(net: Adapted, shape: tuple[int, ...]) -> int:
    """Return the floating-point operations of products and convolutions for a row of zeros."""
    from torch.utils.flop_counter import FlopCounterMode

    is_fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its operations are not counted
    row = torch.zeros(1, *shape, dtype=net.head.weight.dtype)
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            copy.deepcopy(net).eval().features(row)
    finally:
        torch.backends.mha.set_fastpath_enabled(is_fused)
    return int(counter.get_total_flops())
