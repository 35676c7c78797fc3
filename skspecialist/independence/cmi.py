"""Neural conditional mutual information."""

from __future__ import annotations

import numpy as np
from scipy.special import logsumexp
from sklearn.neighbors import NearestNeighbors

from .base import IndependenceResult, ResultFlag
from .sampled import SampledTest, answer, no_evidence
from .smoothing import RidgeSmoother

__all__ = ["CMI"]


class CMI(SampledTest, short_name="cmi"):
    r"""Conditional mutual information by a neural critic, with a local null.

    A critic learns to tell the x of a sample from draws of x given its ``z``, by
    looking at ``y`` and an embedding of ``z`` (InfoNCE [1]_). What it gains on samples
    that it was not trained on, crosswise on two halves, estimates a lower bound of the
    conditional mutual information in nats.

    The draws are local, as in [2]_: the neighbours of a sample in ``z`` lend it their
    x. They lend the residual of a regression on ``z`` rather than x itself, so that
    the trend within a neighbourhood is no dependence. The p-value is the rank of the
    sample's own score among those of its draws; the critic is not trained again for
    them, since their scores come from the same held-out critic.

    It is the test to use where the dependence has a shape that no moment shows and
    the strength in nats is wanted. It is slow, and loads torch.

    Parameters
    ----------
    n_permutations : int, default=199
        Draws of the null, and the candidates of the estimate, which is at most
        ``log(n_permutations + 1)``.
    n_neighbors : int, default=10
        Neighbours in ``z`` that lend their x; without ``z`` all samples do.
    n_negatives : int, default=16
        Draws that each training step compares a sample with.
    hidden_units : int, default=64
        Units in the critic's hidden layers.
    max_epochs : int, default=30
        Passes over half of the data, for each of the two critics.
    lr : float, default=3e-3
        Largest learning rate.
    device : str, default="cpu"
        Where to train.
    n_jobs : int, default=None
        Workers among which tests are shared, as in joblib.
    random_state : int, RandomState instance or None, default=0
        Seed of the draws, the halves and the networks. An integer by default, so that
        the same data get the same answer.

    Notes
    -----
    ``statistic`` is the estimate in nats; chance can make it negative. ``effect_size``
    is :math:`\sqrt{1 - e^{-2 I}}`, the correlation of Gaussian variables with the same
    information. The smallest p-value is ``1 / (n_permutations + 1)``, too coarse for
    many tests at once with a correction unless ``n_permutations`` grows with them.
    Fewer than 60 samples give p-value 1 and the flag ``TOO_FEW_SAMPLES``.

    The cost is that of two small networks: 2 s at 1,000 samples, on one core.

    The test is conservative: with two columns a side and five in ``z``, at 1,000
    samples, none of 120 true null hypotheses (linear, smooth and shared nonlinear
    relations, a class label in ``z``) was rejected at level 0.05, while colliders that
    respond to both sides linearly or by their squares were found. At 200 samples it
    finds little.

    References
    ----------
    .. [1] A. van den Oord, Y. Li and O. Vinyals, "Representation learning with
       contrastive predictive coding", arXiv:1807.03748, 2018.
    .. [2] J. Runge, "Conditional independence testing based on a nearest-neighbor
       estimator of conditional mutual information", AISTATS 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from skspecialist.independence.cmi import CMI
    >>> rng = np.random.default_rng(0)
    >>> z = rng.normal(size=300)
    >>> x, y = z + rng.normal(size=(2, 300))
    >>> test = CMI(n_permutations=49, max_epochs=10)
    >>> bool(test.test(x, x**2 + y, z).pvalue < 0.05)
    True
    """

    def __init__(
        self,
        *,
        n_permutations: int = 199,
        n_neighbors: int = 10,
        n_negatives: int = 16,
        hidden_units: int = 64,
        max_epochs: int = 30,
        lr: float = 3e-3,
        device: str = "cpu",
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = 0,
    ) -> None:
        self.n_permutations = n_permutations
        self.n_neighbors = n_neighbors
        self.n_negatives = n_negatives
        self.hidden_units = hidden_units
        self.max_epochs = max_epochs
        self.lr = lr
        self.device = device
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _fewest_samples(self, p: int, q: int, r: int) -> int:
        return max(60, 2 * (p + q + r))

    def _check_size(self, n_samples: int, n_tests: int) -> None:
        if not 1 <= self.n_negatives <= self.n_permutations:
            raise ValueError(
                "n_negatives must lie between 1 and n_permutations="
                f"{self.n_permutations}, got {self.n_negatives}."
            )

    def _test(
        self, x: np.ndarray, y: np.ndarray, z: np.ndarray, rng: np.random.Generator
    ) -> IndependenceResult:
        # torch is loaded by the first test, not by the import of this module.
        from ..networks.cmi import cross_fitted_scores

        n = len(x)
        residuals, _ = RidgeSmoother(z, rng).residuals(x)
        if not residuals.any():
            return no_evidence(n, ResultFlag.DEGENERATE)
        lenders = _draw_lenders(z, self.n_neighbors, self.n_permutations, rng)
        draws = (x - residuals)[:, None] + residuals[lenders]
        scores = cross_fitted_scores(
            np.concatenate([x[:, None], draws], axis=1),
            y,
            z if z.shape[1] else np.zeros((n, 1)),
            rng.permutation(n) % 2,
            n_negatives=self.n_negatives,
            n_hidden=self.hidden_units,
            max_epochs=self.max_epochs,
            lr=self.lr,
            device=self.device,
            seed=int(rng.integers(2**31)),
        )
        totals = scores.mean(axis=0)
        exceeding = int((totals[1:] >= totals[0]).sum())
        information = totals[0] - np.mean(logsumexp(scores, axis=1) - np.log(scores.shape[1]))
        effect = np.sqrt(-np.expm1(-2 * max(information, 0.0)))
        return answer(n, information, (1 + exceeding) / (1 + self.n_permutations), effect)


def _draw_lenders(
    z: np.ndarray, n_neighbors: int, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Return, for each sample, neighbours in z drawn at random, with repetition."""
    n = len(z)
    if not z.shape[1]:
        return np.stack([rng.permutation(n) for _ in range(n_draws)], axis=1)
    search = NearestNeighbors(n_neighbors=min(n_neighbors, n - 1)).fit(z)
    neighbours = search.kneighbors(return_distance=False)
    chosen = rng.integers(neighbours.shape[1], size=(n, n_draws))
    return np.take_along_axis(neighbours, chosen, axis=1)
