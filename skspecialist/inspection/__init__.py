"""Displays of fitted estimators, drawn with matplotlib."""

from ._attribution import AttributionDisplay
from ._latent_traversal import LatentTraversalDisplay
from ._masks import MaskDisplay, TaskStructureDisplay
from ._pair_evidence import PairEvidenceDisplay
from ._scores import FeatureGroupDisplay, SpecialistGainDisplay
from ._sequence import SequenceDisplay
from ._sparsity_path import SparsityPathDisplay
from ._task_timeline import TaskTimelineDisplay

__all__ = [
    "AttributionDisplay",
    "FeatureGroupDisplay",
    "LatentTraversalDisplay",
    "MaskDisplay",
    "PairEvidenceDisplay",
    "SequenceDisplay",
    "SparsityPathDisplay",
    "SpecialistGainDisplay",
    "TaskStructureDisplay",
    "TaskTimelineDisplay",
]
