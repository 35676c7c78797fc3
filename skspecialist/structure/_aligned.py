"""Mixin of the estimators of aligned sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import OneToOneFeatureMixin, TransformerMixin
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from .._base.estimator import TaskEstimatorMixin
from .._data.validation import check_numbers, n_dimensions, validate_sequences
from ..exceptions import warn

__all__ = ["AlignedStructureMixin"]


class AlignedStructureMixin(TaskEstimatorMixin, OneToOneFeatureMixin, TransformerMixin):
    """Selector of the time steps that belong to any task.

    ``fit`` of a subclass validates with :meth:`_validate` and ends with
    :meth:`_set_structure`.
    """

    segments_: np.ndarray
    structure_: np.ndarray
    step_mask_: np.ndarray
    support_: np.ndarray
    n_timesteps_: int
    n_tasks_: int
    task_names_: list[str]
    n_features_in_: int

    def _set_structure(
        self,
        structure: np.ndarray,
        segments: np.ndarray,
        n_timesteps: int,
        task_names: list[str] | None,
    ) -> None:
        """Set the fitted attributes that are derived from the structure."""
        self.structure_, self.segments_ = structure, segments
        self.step_mask_ = np.zeros((n_timesteps, structure.shape[1]), dtype=bool)
        for (first, stop), tasks in zip(segments, structure, strict=True):
            self.step_mask_[first:stop] = tasks
        self.support_ = np.any(self.step_mask_, axis=1)
        self.n_timesteps_, self.n_tasks_ = n_timesteps, structure.shape[1]
        self.task_names_ = task_names or [f"task{j}" for j in range(self.n_tasks_)]

    def step_weights(self, X: ArrayLike) -> np.ndarray:
        """Return the weight of each step for each task and sequence.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences.

        Returns
        -------
        weights : ndarray of shape (n_sequences, n_timesteps, n_tasks)
            1.0 for the steps of a task and 0.0 otherwise, equal in all sequences. A
            read-only view.
        """
        X = self._validate(X)
        return np.broadcast_to(self.step_mask_.astype(float), (len(X), *self.step_mask_.shape))

    def get_support(self, indices: bool = False) -> np.ndarray:
        """Return the steps that belong to any task.

        Parameters
        ----------
        indices : bool, default=False
            Whether to return indices of steps instead of a mask.

        Returns
        -------
        support : ndarray of bool of shape (n_timesteps,), or of int
            The steps that :meth:`transform` keeps.
        """
        check_is_fitted(self)
        return np.flatnonzero(self.support_) if indices else np.asarray(self.support_)

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Reduce sequences to the steps that belong to any task.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Sequences.

        Returns
        -------
        X : ndarray of shape (n_sequences, n_kept, n_features) or \
                (n_sequences, n_kept * n_features)
            The kept steps, with as many dimensions as the input.
        """
        flat = n_dimensions(X) != 3
        X = self._validate(X)
        if not self.support_.any():
            warn(
                "No step of any task was found, so that no step is kept: there may be "
                "too few sequences, or the tasks depend on none of the steps."
            )
        return _like_input(X[:, self.support_], flat)

    def inverse_transform(self, X: ArrayLike) -> np.ndarray:
        """Reverse :meth:`transform`, with zeros for the steps that were removed.

        Parameters
        ----------
        X : array-like of shape (n_sequences, n_kept, n_features) or \
                (n_sequences, n_kept * n_features)
            Kept steps, as returned by :meth:`transform`.

        Returns
        -------
        X : ndarray of shape (n_sequences, n_timesteps, n_features) or \
                (n_sequences, n_features_in_)
            Complete sequences.

        Raises
        ------
        ValueError or TypeError
            If ``X`` is not numeric, or its shape is not that of the kept steps.
        """
        check_is_fitted(self)
        kept = check_numbers(
            X,
            "X",
            dtype="numeric",
            allow_nd=True,
            ensure_all_finite="allow-nan",
            ensure_min_samples=0,
            ensure_min_features=0,
        )
        n_features, n_kept = self.n_features_in_ // self.n_timesteps_, int(self.support_.sum())
        if kept.shape[1:] not in [(n_kept, n_features), (n_kept * n_features,)]:
            raise ValueError(
                f"X must hold the {n_kept} kept steps with {n_features} features each, "
                f"got shape {kept.shape}."
            )
        sequences = np.zeros((len(kept), self.n_timesteps_, n_features), dtype=kept.dtype)
        sequences[:, self.support_] = kept.reshape(len(kept), n_kept, n_features)
        return _like_input(sequences, kept.ndim == 2)

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray:
        """Return the feature names of the output of :meth:`transform`.

        Parameters
        ----------
        input_features : array-like of str of shape (n_features_in_,), default=None
            Names of the columns; None takes those of ``fit``, or x0, x1, ...

        Returns
        -------
        names : ndarray of str
            Names of the kept columns.
        """
        names = super().get_feature_names_out(input_features)
        return names[np.repeat(self.support_, self.n_features_in_ // self.n_timesteps_)]

    def _validate(
        self, X: Any, *, n_timesteps: int | None = None, reset: bool = False, **checks: Any
    ) -> np.ndarray:
        """Return sequences (n_sequences, n_timesteps, n_features), of ``fit`` if ``reset``."""
        if not reset:
            check_is_fitted(self)
            n_timesteps = self.n_timesteps_
        finite = "allow-nan" if get_tags(self).input_tags.allow_nan else True
        return validate_sequences(
            self, X, n_timesteps=n_timesteps, reset=reset, ensure_all_finite=finite, **checks
        )


def _like_input(sequences: np.ndarray, flat: bool) -> np.ndarray:
    """Return sequences with the number of dimensions of the input."""
    if not flat:
        return sequences
    return sequences.reshape(len(sequences), sequences.shape[1] * sequences.shape[2])
