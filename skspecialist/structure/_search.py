"""The search for the structure: criterion, choice of the segments, how often it recurs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import false_discovery_control
from sklearn.utils import check_random_state
from tqdm import tqdm

from .._stats.moments import Moments, complementary_halves
from ..exceptions import warn
from ..independence._base import BaseIndependenceTest
from ._criteria import Evidence, collider_criterion, direct_criterion
from ._gain import StructureGain
from ._segmented import SegmentedData
from ._segments import make_segments
from .aggregation.base import BaseAggregation
from .selection.model import SelectionModel

__all__ = ["Finding", "Search"]

LONGEST_SEGMENT = 10
N_SPLITS = 5
# Fewer sequences than this with all steps of a test are worth a word.
FEW_SEQUENCES = 50
SUBSAMPLES_WITHOUT_PVALUES = 20


class Gain(Protocol):
    """What a structure says about new sequences, in nats per sequence."""

    def gain(self, moments: Moments) -> float: ...


@dataclass(frozen=True)
class Finding:
    """A structure, the evidence for it, and what it says about new sequences.

    Attributes
    ----------
    segments : ndarray of int of shape (n_segments, 2)
        The segments.
    structure : ndarray of bool of shape (n_segments, n_tasks)
        Which of them each task has.
    evidence : Evidence
        Why.
    gain : StructureGain or SelectionModel
        How well it predicts.
    frequency : ndarray of shape (n_segments, n_tasks)
        How often each segment is found in half of the sequences; NaN if not tried.
    """

    segments: np.ndarray
    structure: np.ndarray
    evidence: Evidence
    gain: Gain
    frequency: np.ndarray


@dataclass(frozen=True)
class Search:
    """How a structure is searched for: parameters of TaskStructureIdentifier."""

    segment_length: int | str
    criterion: str
    segment_steps: str
    conditioning: str
    independence_test: str | BaseIndependenceTest
    aggregation: str | BaseAggregation
    alpha: float
    correction: str
    min_effect_size: float
    n_tasks: int | None
    segments: ArrayLike | None
    n_subsamples: int | None
    n_jobs: int | None
    random_state: int | np.random.RandomState | None
    verbose: int

    def run(self, problem: SegmentedData) -> Finding:
        """Choose the segments where that is asked for, find the structure, and try halves."""
        self._refuse_unknown()
        if self.segments is None and self.segment_length == "auto":
            problem = problem.with_segments(self._choose_segments(problem))
        finding = self.find(problem)
        _warn_of_little(problem, finding)
        if n_subsamples := self._n_subsamples():
            finding = replace(finding, frequency=self._frequency(problem, finding, n_subsamples))
        return finding

    def find(self, problem: SegmentedData) -> Finding:
        """Find the structure of sequences in given segments."""
        if self.criterion == "selection":
            return self._find_unobserved(problem)
        structure, evidence = self._decide(problem)
        gain = StructureGain(problem, structure)
        return Finding(
            problem.segments, structure, evidence, gain, np.full(structure.shape, np.nan)
        )

    def _decide(self, problem: SegmentedData) -> tuple[np.ndarray, Evidence]:
        if self.criterion == "collider":
            evidence = collider_criterion(
                problem, self.segment_steps, self._test(), self._correct, self.aggregation
            )
        else:
            evidence = direct_criterion(
                problem, self.segment_steps, self._test(), self._correct, self.conditioning
            )
        relevant = evidence.adjusted_pvalues <= self.alpha
        return relevant & (evidence.effect_sizes >= self.min_effect_size), evidence

    def _choose_segments(self, problem: SegmentedData) -> np.ndarray:
        """Return the segments of the length whose structure predicts held-out folds best."""
        lengths = range(1, max(min(LONGEST_SEGMENT, problem.n_timesteps // 2), 1) + 1)
        candidates = [make_segments(problem.n_timesteps, length) for length in lengths]
        gains = [
            self._held_out_gain(problem.with_segments(segments))
            for segments in self._progress(candidates, "segment lengths")
        ]
        return candidates[int(np.argmax(gains))]

    def _frequency(self, problem: SegmentedData, finding: Finding, n_subsamples: int) -> np.ndarray:
        """Return how often each segment and task is found in half of the sequences."""
        if isinstance(finding.gain, SelectionModel):
            folds = list(problem.folded.folds.values())
            return finding.gain.selection_frequency(folds, n_subsamples)
        rng = np.random.default_rng(self._seed())
        halves = complementary_halves(sorted(problem.folded.folds), n_subsamples, rng)
        found = [
            self._decide(problem.subset(half))[0]
            for half in self._progress(list(halves), "half-samples")
        ]
        return np.mean(found, axis=0)

    def _find_unobserved(self, problem: SegmentedData) -> Finding:
        if problem.has_missing:
            raise ValueError(
                "Input X contains NaN: tasks that are not observed are found in the covariance "
                "of whole sequences. Impute missing steps, or leave these sequences out."
            )
        model = SelectionModel(
            problem.segments,
            problem.n_features,
            segment_steps=self.segment_steps,
            n_tasks=self.n_tasks,
            random_state=self._seed(),
            verbose=self.verbose,
        ).fit(list(problem.folded.folds.values()))
        effects = model.effect_sizes_
        unknown = np.full(effects.shape, np.nan)
        n_sequences = np.full(effects.shape, problem.moments.n)
        evidence = Evidence(unknown, unknown, unknown, effects, n_sequences)
        structure = model.structure_ & (effects >= self.min_effect_size)
        return Finding(problem.segments, structure, evidence, model, unknown)

    def _n_subsamples(self) -> int:
        if self.n_subsamples is not None:
            return self.n_subsamples
        return SUBSAMPLES_WITHOUT_PVALUES if self.criterion == "selection" else 0

    def _held_out_gain(self, problem: SegmentedData) -> float:
        gains = [
            self.find(problem.subset(training)).gain.gain(held_out)
            for training, held_out in problem.folded.splits(N_SPLITS)
        ]
        return float(np.mean(gains))

    def _refuse_unknown(self) -> None:
        """Raise for unknown parts, also for one that this criterion does not need."""
        self._test()
        BaseAggregation.resolve(self.aggregation, argument="aggregation")

    def _test(self) -> BaseIndependenceTest | None:
        """Return the test, with these workers and this seed; None leaves it to the criterion."""
        if self.independence_test == "auto":
            return None
        test = BaseIndependenceTest.resolve(self.independence_test, argument="independence_test")
        given = {"n_jobs": self.n_jobs, "random_state": self.random_state}
        known = test.get_params(deep=False)
        return test.set_params(
            **{name: value for name, value in given.items() if name in known and value is not None}
        )

    def _seed(self) -> int:
        return int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))

    def _correct(self, pvalues: np.ndarray) -> np.ndarray:
        if self.correction == "none" or not pvalues.size:
            return pvalues
        return false_discovery_control(pvalues, axis=0, method=self.correction)

    def _progress(self, items: list, name: str) -> tqdm:
        return tqdm(items, desc=name, disable=not self.verbose, leave=False)


def _warn_of_little(problem: SegmentedData, finding: Finding) -> None:
    n_sequences = finding.evidence.n_sequences
    if problem.has_missing and (n_sequences < FEW_SEQUENCES).any():
        n_segments = int((n_sequences < FEW_SEQUENCES).any(axis=1).sum())
        warn(
            f"Steps are missing: the tests of {n_segments} of {len(problem.segments)} segments "
            f"rest on fewer than {FEW_SEQUENCES} sequences (fewest: {n_sequences.min()})."
        )
    if isinstance(finding.gain, SelectionModel) and not finding.structure.any():
        warn(
            "No task was found. Tasks that are neither observed nor the reason why the "
            "sequences were recorded leave no trace in them: give y, or only sequences "
            "whose tasks succeeded."
        )
