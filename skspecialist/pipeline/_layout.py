"""Which features a task can be predicted from, where sequences align and where they do not."""

from __future__ import annotations

import numpy as np

__all__ = ["AlignedLayout", "PooledLayout", "layout_for"]

Columns = list[dict[str, np.ndarray]]


class AlignedLayout:
    """A task has the same steps in all sequences: its features are those of these steps.

    Parameters
    ----------
    weights : ndarray of shape (n_sequences, n_timesteps, n_tasks)
        Weight of each step in each task.
    """

    is_aligned = True

    def __init__(self, weights: np.ndarray) -> None:
        self.steps = np.any(weights > 0, axis=0)

    def features(
        self, states: np.ndarray, latents: np.ndarray, weights: np.ndarray | None
    ) -> np.ndarray:
        """Return the states, step by step, and the latents, step by step."""
        return np.hstack([states.reshape(len(states), -1), latents.reshape(len(latents), -1)])

    def columns(self, used: np.ndarray, n_features: int) -> Columns:
        """Return the features of each task: its latents at its steps, and the states there."""
        n_generalist = len(self.steps) * n_features
        return [
            {
                "latents": n_generalist + np.flatnonzero(np.outer(steps, latents)),
                "steps": np.flatnonzero(np.repeat(steps, n_features)),
            }
            for steps, latents in zip(self.steps.T, used, strict=True)
        ]

    def names(self, n_features: int, n_latents: int) -> list[str]:
        """Return names such as step3_generalist5 and step3_latent0."""
        return [
            f"step{t}_{kind}{j}"
            for kind, size in (("generalist", n_features), ("latent", n_latents))
            for t in range(len(self.steps))
            for j in range(size)
        ]


class PooledLayout:
    """Each sequence has steps of its own: means over them, and how many steps there are.

    Parameters
    ----------
    weights : ndarray of shape (n_sequences, n_timesteps, n_tasks)
        Weight of each step in each task.
    """

    is_aligned = False

    def __init__(self, weights: np.ndarray) -> None:
        self.steps = np.any(weights > 0, axis=0)

    def features(
        self, states: np.ndarray, latents: np.ndarray, weights: np.ndarray | None
    ) -> np.ndarray:
        """Return all states; of each task the sum of its weights, mean states, mean latents."""
        assert weights is not None
        sums = weights.sum(axis=1, keepdims=True)
        shares = weights / np.maximum(sums, np.finfo(float).tiny)
        both = np.concatenate([states, latents], axis=2)
        means = np.einsum("ntk,ntd->nkd", shares, both)
        pooled = np.concatenate([sums.transpose(0, 2, 1), means], axis=2)
        return np.hstack([states.reshape(len(states), -1), pooled.reshape(len(pooled), -1)])

    def columns(self, used: np.ndarray, n_features: int) -> Columns:
        """Return the features of each task, with its latents and with the states."""
        n_generalist = len(self.steps) * n_features
        width = 1 + n_features + used.shape[1]
        found: Columns = []
        for task, latents in enumerate(used):
            first = n_generalist + task * width
            places = first + 1 + n_features + np.flatnonzero(latents)
            found.append(
                {
                    "latents": np.append(first, places) if len(places) else places,
                    "steps": first + np.arange(1 + n_features),
                }
            )
        return found

    def names(self, n_features: int, n_latents: int) -> list[str]:
        """Return names such as step3_generalist5, task0_weight, and task0_latent2."""
        n_timesteps, n_tasks = self.steps.shape
        pooled = ["weight", *(f"generalist{j}" for j in range(n_features))]
        pooled += [f"latent{j}" for j in range(n_latents)]
        states = [f"step{t}_generalist{j}" for t in range(n_timesteps) for j in range(n_features)]
        return states + [f"task{k}_{name}" for k in range(n_tasks) for name in pooled]


def layout_for(weights: np.ndarray) -> AlignedLayout | PooledLayout:
    """Return the layout for weights that are the same in all sequences, or not."""
    aligned = weights.strides[0] == 0 or bool((weights == weights[:1]).all())
    return AlignedLayout(weights) if aligned else PooledLayout(weights)
