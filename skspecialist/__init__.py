"""Specialist representations from generalist ones, as scikit-learn estimators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._data.frames import sequences_from_frame
from .structure._identifier import TaskStructureIdentifier
from .structure._power import sequences_needed

if TYPE_CHECKING:
    from .encoder._encoder import SparseSpecialistEncoder
    from .encoder._encoder_cv import SparseSpecialistEncoderCV
    from .encoder._nuisance import NuisanceRemover
    from .encoder._selector import SparseMultiTaskSelector, SparseMultiTaskSelectorCV
    from .generalist._prune_then_finetune import PruneThenFinetune
    from .generalist._ranker import FeatureGroupRanker
    from .generalist._reduction import SufficientReduction
    from .generalist._spaces import RelativeRepresentation, SpaceAligner
    from .generalist._task_groups import TaskGrouper
    from .generalist._torch import TorchGeneralist
    from .localizer._localizer import TaskLocalizer
    from .pipeline._pipeline import SpecialistClassifier, SpecialistPipeline, SpecialistRegressor
    from .pipeline._router import SpecialistRouter
    from .structure._stream import OnlineTaskSegmenter

__version__ = "0.1.0.dev0"

__all__ = [
    "FeatureGroupRanker",
    "NuisanceRemover",
    "OnlineTaskSegmenter",
    "PruneThenFinetune",
    "RelativeRepresentation",
    "SpaceAligner",
    "SparseMultiTaskSelector",
    "SparseMultiTaskSelectorCV",
    "SparseSpecialistEncoder",
    "SparseSpecialistEncoderCV",
    "SpecialistClassifier",
    "SpecialistPipeline",
    "SpecialistRegressor",
    "SpecialistRouter",
    "SufficientReduction",
    "TaskGrouper",
    "TaskLocalizer",
    "TaskStructureIdentifier",
    "TorchGeneralist",
    "__version__",
    "sequences_from_frame",
    "sequences_needed",
]

# Torch takes seconds to import: these names are imported when they are first used.
_LAZY = {
    "FeatureGroupRanker": "generalist",
    "NuisanceRemover": "encoder",
    "OnlineTaskSegmenter": "structure._stream",
    "PruneThenFinetune": "generalist",
    "RelativeRepresentation": "generalist",
    "SpaceAligner": "generalist",
    "SparseMultiTaskSelector": "encoder",
    "SparseMultiTaskSelectorCV": "encoder",
    "SparseSpecialistEncoder": "encoder",
    "SparseSpecialistEncoderCV": "encoder",
    "SpecialistClassifier": "pipeline",
    "SpecialistPipeline": "pipeline",
    "SpecialistRegressor": "pipeline",
    "SpecialistRouter": "pipeline",
    "SufficientReduction": "generalist",
    "TaskGrouper": "generalist",
    "TaskLocalizer": "localizer",
    "TorchGeneralist": "generalist",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value  # found without this function from now on
    return value


def __dir__() -> list[str]:
    return __all__
