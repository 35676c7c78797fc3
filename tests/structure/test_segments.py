"""Segments and bands against the examples of the theory."""

import numpy as np
import pytest

from skspecialist.structure._segments import (
    collider_sets,
    evidence_blocks,
    make_segments,
    to_columns,
    validate_segments,
)


def sets(array):
    return [sorted(int(v) for v in row if v >= 0) for row in array]


def test_the_last_segment_has_what_remains():
    assert make_segments(7, 3).tolist() == [[0, 3], [3, 6], [6, 7]]
    with pytest.raises(ValueError, match=r"segment_length=3"):
        make_segments(2, 3)


@pytest.mark.parametrize(
    ("segment_steps", "x", "z"),
    [
        ("last", [[2], [5], [8]], [[1, 3], [4, 6], [7]]),
        ("interior", [[1, 2], [4, 5], [7, 8]], [[0, 3], [3, 6], [6]]),
        ("all", [[0, 1, 2], [3, 4, 5], [6, 7, 8]], [[3], [2, 6], [5]]),
    ],
)
def test_evidence_blocks_and_their_bands(segment_steps, x, z):
    blocks, bands = evidence_blocks(make_segments(9, 3), 9, segment_steps)
    assert sets(blocks) == x
    assert sets(bands) == z


@pytest.mark.parametrize("segment_steps", ["last", "interior"])
def test_the_papers_band(segment_steps):
    # Steps are counted from one there: segments {3, 4} and {7, 8} of ten steps have
    # the band {3, 5, 7, 9}, which loses 9 when there are eight steps.
    for n_timesteps, band in [(10, [2, 4, 6, 8]), (8, [2, 4, 6])]:
        pairs, x, y, z = collider_sets(make_segments(n_timesteps, 2), n_timesteps, segment_steps)
        row = pairs.tolist().index([1, 3])
        assert (sets(x)[row], sets(y)[row], sets(z)[row]) == ([3], [7], band)


def test_bands_of_neighbors_have_no_duplicates():
    pairs, _, _, z = collider_sets(make_segments(6, 2), 6, "interior")
    assert sets(z)[pairs.tolist().index([0, 1])] == [0, 2, 4]


def test_touching_segments_condition_on_the_first_step_of_the_later_one():
    pairs, x, y, z = collider_sets(make_segments(9, 3), 9, "all")
    row = pairs.tolist().index([0, 1])
    assert (sets(x)[row], sets(y)[row], sets(z)[row]) == ([0, 1, 2], [4, 5], [3, 6])


def test_pairs_with_nothing_to_test_are_dropped():
    pairs, *_ = collider_sets(make_segments(4, 1), 4, "all")
    assert pairs.tolist() == [[0, 2], [0, 3], [1, 3]]


@pytest.mark.parametrize("segment_steps", ["last", "interior", "all"])
@pytest.mark.parametrize("length", [1, 2, 3, 4])
def test_sides_and_band_are_disjoint_and_separate(segment_steps, length):
    segments = make_segments(13, length)
    pairs, x, y, z = collider_sets(segments, 13, segment_steps)
    for (k, v), a, b, band in zip(pairs, sets(x), sets(y), sets(z), strict=True):
        assert not set(a) & set(b)
        assert not set(band) & (set(a) | set(b))
        assert set(a) <= set(range(*segments[k]))
        assert set(b) <= set(range(*segments[v]))
        # Every neighbor on the chain is on the same side, in the band, or outside.
        for side in (a, b):
            for step in side:
                for neighbor in (step - 1, step + 1):
                    assert neighbor in side or neighbor in band or not 0 <= neighbor < 13


def test_columns_of_steps():
    assert to_columns(np.array([[2, -1]]), 3).tolist() == [[6, 7, 8, -1, -1, -1]]


def test_segments_of_the_users_own_have_a_band_where_steps_are_left_out():
    segments = validate_segments([(0, 3), (4, 6)], 8)
    blocks, bands = evidence_blocks(segments, 8, "interior")
    assert (sets(blocks), sets(bands)) == ([[1, 2], [5]], [[0, 3], [4, 6]])


@pytest.mark.parametrize(
    ("segments", "message"),
    [
        ([0, 3], "pairs of integers"),
        ([(0.0, 3.0)], "pairs of integers"),
        ([], "pairs of integers"),
        ([(0, 3), (2, 5)], "without overlap"),
        ([(3, 5), (0, 3)], "time order"),
        ([(2, 2)], "at least one step"),
        ([(0, 9)], "within the 8 steps"),
        ([(-1, 2)], "within the 8 steps"),
    ],
)
def test_what_is_no_list_of_segments(segments, message):
    with pytest.raises(ValueError, match=message):
        validate_segments(segments, 8)
