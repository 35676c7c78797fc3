"""Displays of fitted estimators, drawn with matplotlib."""

from ._attribution import AttributionDisplay
from ._feature_groups import FeatureGroupDisplay
from ._latent_traversal import LatentTraversalDisplay
from ._mask import MaskDisplay
from ._pair_evidence import PairEvidenceDisplay
from ._sequence import SequenceDisplay
from ._sparsity_path import SparsityPathDisplay
from ._specialist_gain import SpecialistGainDisplay
from ._task_structure import TaskStructureDisplay
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
