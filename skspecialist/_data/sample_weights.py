"""How much each value of each task counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from .validation import check_numbers

__all__ = ["validate_weights"]


def validate_weights(
    y_weight: Any, task_weight: Any, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the weights of values (n_samples, n_tasks) and of tasks (n_tasks,).

    Parameters
    ----------
    y_weight : array-like of shape (n_samples,) or (n_samples, n_tasks) or None
        Weights within each task.
    task_weight : array-like of shape (n_tasks,) or None
        Weights of the tasks.
    shape : tuple of int
        Numbers of samples and of tasks.
    """
    weights = np.ones(shape)
    if y_weight is not None:
        each = check_numbers(y_weight, "y_weight", ensure_2d=False, ensure_non_negative=True)
        if each.shape not in (shape, shape[:1]):
            raise ValueError(
                f"y_weight must have shape (n_samples,) = {shape[:1]} or (n_samples, n_tasks) = "
                f"{shape}, got {each.shape}."
            )
        weights *= each.reshape(len(each), -1)
        if not weights.any(axis=0).all():
            raise ValueError("y_weight is zero for all samples of a task.")
    if task_weight is not None:
        tasks = check_numbers(task_weight, "task_weight", ensure_2d=False, ensure_non_negative=True)
        if tasks.shape != shape[1:] or not tasks.any():
            raise ValueError(
                f"task_weight must have one weight for each of the {shape[1]} tasks, one of "
                f"them above zero, got {task_weight!r}."
            )
        return weights, tasks / tasks.mean()
    return weights, np.ones(shape[1])
