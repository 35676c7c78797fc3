"""Segmenters: one label for each segment, and so one task at most."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from .base import BaseBaseline, StructureProblem

__all__ = ["BaseSegmenter"]


class BaseSegmenter(BaseBaseline):
    """Base of the segmenters, which implement :meth:`_label`.

    A segmenter needs a signal over time in which tasks differ. The steps of aligned
    sequences mean the same in each, and so do the labels: the signal is how strongly a
    segment is associated with each task, over sequences. Segments with one label get
    the task with which they are associated most on average, and none unless one of them
    is associated with it at level ``alpha`` (Bonferroni over segments and tasks).
    """

    alpha: float

    def _find_structure(self, problem: StructureProblem) -> np.ndarray:
        labels = self._label(problem)
        signal, pvalues = association_signal(problem)
        structure = np.zeros(signal.shape, dtype=bool)
        for label in np.unique(labels):
            same = labels == label
            task = signal[same].mean(axis=0).argmax()
            structure[same, task] = pvalues[same, task].min() * pvalues.size <= self.alpha
        return structure

    @abstractmethod
    def _label(self, problem: StructureProblem) -> np.ndarray:
        """Return the label of each segment, int of shape (n_segments,)."""


def association_signal(problem: StructureProblem) -> tuple[np.ndarray, np.ndarray]:
    """Return how each segment is associated with each task, and the p-values.

    The strength is a multiple correlation times the root of the number of sequences,
    about the size of a standard normal where there is none.
    """
    tests = problem.associations()
    return tests.effect_size * np.sqrt(len(problem.X)), tests.pvalue
