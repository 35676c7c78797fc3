"""Settings of all tests."""

import os

import pytest

# Read when matplotlib is first imported: figures are drawn without a window.
os.environ["MPLBACKEND"] = "Agg"


# Examples of docstrings that take longest.
SLOW_EXAMPLES = {
    "CMI",
    "ChangePointBaseline",
    "PruneThenFinetune",
    "Selection",
    "SelectionModel",
    "SparseMultiTaskSelector",
    "SparseMultiTaskSelectorCV",
    "SparseSpecialistEncoderCV",
    "SpecialistPipeline",
    "SufficientReduction",
    "TaskLocalizer",
    "TaskTimelineDisplay",
    "block_r2",
    "dci",
    "specialization_score",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Expect the library's warnings in examples of docstrings, whose fits take a moment."""
    for item in items:
        if isinstance(item, pytest.DoctestItem):
            ignored = "ignore::skspecialist.exceptions.SpecialistWarning"
            item.add_marker(pytest.mark.filterwarnings(ignored))
            if item.name.rpartition(".")[2] in SLOW_EXAMPLES:
                item.add_marker(pytest.mark.slow)
