"""Images of shapes show their factors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from skspecialist.datasets import make_shape_factors


def test_images_show_their_factors():
    data = make_shape_factors(500, image_size=32, random_state=0)
    shape, color, x, y, size = data.latents.T
    ink = data.images.max(axis=3)
    area = ink.sum(axis=(1, 2)) / 32**2
    radius = 0.16 + 0.04 * size / np.sqrt(3)
    full = data.images.max(axis=(1, 2))
    # Equal areas of all shapes, up to the pixels of the edges.
    brightest = full.max(axis=1)
    for kind in np.unique(shape):
        rows = shape == kind
        assert_allclose((area / brightest / (np.pi * radius**2))[rows].mean(), 1, atol=0.02)
    axis = (np.arange(32) + 0.5) / 32 - 0.5
    for factor, center in ((x, ink.sum(axis=1) @ axis), (y, ink.sum(axis=2) @ axis)):
        assert_allclose(center / ink.sum(axis=(1, 2)), 0.18 * factor / np.sqrt(3), atol=0.02)
    red, _, blue = full.T
    assert np.corrcoef(blue - red, color)[0, 1] > 0.95
    assert_array_equal(ink[:, 0].max(axis=1) > 0.5, False)


def test_latents_have_unit_variance_and_masks_name_the_relevant():
    data = make_shape_factors(2000, relevant=["y", "size", "color"], random_state=0)
    assert_allclose(data.latents.std(axis=0), 1, atol=0.05)
    assert [data.factor_names[k] for k in np.flatnonzero(data.relevant)] == ["color", "y", "size"]
    assert_array_equal(data.mask.sum(axis=1), 2)


def test_unknown_factors_are_an_error():
    with pytest.raises(ValueError, match="relevant=\\['speed'\\] must be some of"):
        make_shape_factors(relevant=["speed"])
