"""Which features a task can be predicted from, where sequences align and where they do not."""

from __future__ import annotations

import numpy as np

from .._data.step_weights import weighted_means

__all__ = ["AlignedLayout", "PooledLayout", "layout_for"]

Columns = list[dict[str, np.ndarray]]


class Layout:
    """What both layouts have: the steps (n_timesteps, n_tasks) of each task in any sequence.

    Parameters
    ----------
    weights : ndarray of shape (n_sequences, n_timesteps, n_tasks)
        Weight of each step in each task.
    """

    def __init__(self, weights: np.ndarray) -> None:
        self.steps = np.any(weights > 0, axis=0)

    def _each_step(self, kind: str, size: int) -> list[str]:
        return [f"step{t}_{kind}{j}" for t in range(len(self.steps)) for j in range(size)]


class AlignedLayout(Layout):
    """A task has the same steps in all sequences: its features are those of these steps."""

    is_aligned = True

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
        return self._each_step("generalist", n_features) + self._each_step("latent", n_latents)


class PooledLayout(Layout):
    """Each sequence has steps of its own: means over them, and how many steps there are."""

    is_aligned = False

    def features(
        self, states: np.ndarray, latents: np.ndarray, weights: np.ndarray | None
    ) -> np.ndarray:
        """Return all states; of each task the sum of its weights, mean states, mean latents."""
        assert weights is not None
        means = weighted_means(np.concatenate([states, latents], axis=2), weights)
        pooled = np.concatenate([weights.sum(axis=1)[:, :, None], means], axis=2)
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
        pooled = ["weight", *(f"generalist{j}" for j in range(n_features))]
        pooled += [f"latent{j}" for j in range(n_latents)]
        tasks = [f"task{k}_{name}" for k in range(self.steps.shape[1]) for name in pooled]
        return self._each_step("generalist", n_features) + tasks


def layout_for(weights: np.ndarray) -> AlignedLayout | PooledLayout:
    """Return the layout for weights that are the same in all sequences, or not."""
    aligned = weights.strides[0] == 0 or bool((weights == weights[:1]).all())
    return AlignedLayout(weights) if aligned else PooledLayout(weights)
