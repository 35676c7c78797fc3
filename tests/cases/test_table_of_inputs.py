"""Forms of input: tables of the documentation, and cases of public reports, with their tests."""

import re
from pathlib import Path

import pytest

# What users do with estimators, by public reports about similar libraries, and the tests of it.
CASES = {
    "tables as global output of transformers": (
        "cases/test_ambient_settings.py#test_the_output_of_transformers_changes_no_prediction"
    ),
    "default dtype of torch": (
        "cases/test_ambient_settings.py#test_the_default_type_of_torch_changes_no_prediction"
    ),
    "default device of torch": (
        "cases/test_ambient_settings.py#test_the_default_device_of_torch_changes_no_prediction"
    ),
    "integer labels beside missing ones": (
        "cases/test_kinds_of_tasks.py#test_integers_are_labels_whether_or_not_some_are_missing"
    ),
    "labels 0, 1, NaN of a CSV": (
        "cases/test_kinds_of_tasks.py#test_floats_that_are_zero_or_one_warn_of_their_kind"
    ),
    "probabilities and kinds": (
        "cases/test_kinds_of_tasks.py#test_meta_estimators_take_the_classifier"
    ),
    "rows in class order": "cases/test_kinds_of_tasks.py#test_rows_in_the_order_of_their_class",
    "a rare class": "cases/test_bad_tasks.py#test_a_rare_class_does_not_stop_the_other_tasks",
    "a task constant in a fold": (
        "cases/test_bad_tasks.py#test_an_amount_that_is_constant_in_a_fold_does_not_stop_the_other_tasks"
    ),
    "missing labels of some tasks": (
        "cases/test_missing_labels.py"
        "#test_a_pipeline_learns_each_task_from_the_sequences_of_which_it_is_known"
    ),
    "unequal lengths in the pipeline": (
        "cases/test_arrays_and_tables.py#test_a_pipeline_takes_sequences_of_unequal_lengths"
    ),
    "imputer as generalist": (
        "cases/test_arrays_and_tables.py#test_a_generalist_may_fill_in_what_is_missing"
    ),
    "one value of a step missing": (
        "cases/test_arrays_and_tables.py"
        "#test_a_missing_value_is_the_mean_of_its_feature_in_the_localizer"
    ),
    "more columns than sequences": (
        "cases/test_long_and_wide.py#test_more_columns_than_sequences_fall_back_to_the_generalist"
    ),
    "long sequences in the encoder": (
        "cases/test_long_and_wide.py#test_the_independence_of_latents_is_measured_on_some_rows"
    ),
    "long sequences in the structure": (
        "cases/test_long_and_wide.py"
        "#test_the_memory_of_a_structure_is_linear_in_the_number_of_steps"
    ),
    "tasks of two kinds": (
        "cases/test_arrays_and_tables.py#test_a_table_of_tasks_keeps_their_names_and_kinds"
    ),
    "irregular times": (
        "cases/test_arrays_and_tables.py"
        "#test_irregular_times_warn_and_are_aligned_by_order_or_in_intervals"
    ),
    "tensors of torch": "cases/test_arrays_and_tables.py#test_tensors_of_torch_are_read_as_arrays",
    "early stopping of skorch": (
        "cases/test_training.py#test_a_validation_loss_that_is_not_recorded_is_named"
    ),
    "groups in the parts of a pipeline": (
        "cases/test_groups.py#test_the_localizer_of_a_pipeline_finds_no_steps_of_a_coin_of_the_recordings"
    ),
    "weights and rare classes": (
        "cases/test_weights.py#test_balanced_weights_find_more_of_a_rare_class"
    ),
    "forms of y": "cases/test_arrays_and_tables.py#test_every_form_of_tasks_is_the_same",
    "heavy tails": "structure/test_robust.py#test_null_pvalues_are_valid",
}

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "user_guide" / "input.rst"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed")
def test_every_entry_links_to_a_test_that_exists():
    links = set(re.findall(r":test:`[^<`]*<([\w/]+\.py)#(\w+)>`", PAGE.read_text()))
    assert len(links) > 20
    for file, name in links:
        assert f"def {name}(" in (TESTS / file).read_text(), f"{file}: {name}"


@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not installed")
def test_every_cell_links_to_a_test():
    cells = re.findall(r"^     - ?(.*)$", PAGE.read_text(), flags=re.MULTILINE)
    names = {"Structure", "Encoder", "Localizer", "Pipeline"}
    assert [c for c in cells if not c.startswith(":test:`") and c not in names] == []


@pytest.mark.parametrize("case", CASES)
def test_every_case_has_a_test(case):
    file, name = CASES[case].split("#")
    assert f"def {name}(" in (TESTS / file).read_text()
