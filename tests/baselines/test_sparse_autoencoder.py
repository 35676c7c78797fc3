"""Sparse autoencoders on planted dictionaries."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

from skspecialist.baselines import SparseAutoencoder, _sparse_autoencoder
from skspecialist.exceptions import SpecialistWarning

ACTIVATIONS = ["topk", "relu", "matching_pursuit"]


def planted(seed, n_samples, n_features, n_atoms, n_active):
    """Return samples of a random dictionary, and its atoms of unit norm."""
    rng = np.random.default_rng(seed)
    atoms = rng.normal(size=(n_atoms, n_features))
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    used = np.argsort(rng.uniform(size=(n_samples, n_atoms)), axis=1) < n_active
    return (used * rng.uniform(0.5, 1.5, size=used.shape)) @ atoms, atoms


def recovered(atoms, model):
    """Return the cosine of each true atom with the nearest that was learned."""
    return (atoms @ model.components_.T).max(axis=1)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_codes_are_sparse_and_read_by_unit_atoms(activation):
    X, _ = planted(0, 100, 6, 8, 2)
    X = 1e3 * X + 5
    model = SparseAutoencoder(8, activation=activation, n_nonzero_coefs=2, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)  # few samples, few epochs
        codes = model.set_params(max_epochs=5).fit_transform(X)
    assert codes.min() >= 0
    if activation != "relu":
        assert (codes > 0).sum(axis=1).max() <= 2
    assert_allclose(np.linalg.norm(model.components_, axis=1), 1, rtol=1e-12)
    assert_allclose(model.inverse_transform(codes), codes @ model.components_ + model.intercept_)
    assert_allclose(model.transform(X[:, None]), codes[:, None])


def test_matching_pursuit_is_greedy():
    X, _ = planted(1, 60, 5, 10, 3)
    model = SparseAutoencoder(
        10, activation="matching_pursuit", n_nonzero_coefs=3, max_epochs=2, random_state=0
    ).fit(X)
    expected, left = np.zeros((60, 10)), X - model.intercept_
    for _ in range(3):  # algorithm 1 of Mallat and Zhang (1993)
        products = left @ model.components_.T
        best = products.argmax(axis=1)
        coefficients = np.maximum(products.max(axis=1), 0)
        expected[np.arange(60), best] += coefficients
        left = left - coefficients[:, None] * model.components_[best]
    assert_allclose(model.transform(X), expected, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_planted_dictionary_is_recovered(activation):
    X, atoms = planted(2, 2000, 24, 48, 3)
    model = SparseAutoencoder(48, activation=activation, n_nonzero_coefs=3, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SpecialistWarning)  # an atom or two may stay unused
        codes = model.fit_transform(X)
    assert recovered(atoms, model).mean() > 0.9
    assert (codes > 0).sum(axis=1).mean() == pytest.approx(3, rel=0.05)


@pytest.mark.slow
def test_dead_atoms_are_revived(monkeypatch):
    X, _ = planted(3, 1000, 16, 64, 2)
    begin = _sparse_autoencoder.DictionaryNetwork.__init__

    def begin_half_dead(network, *sizes):
        begin(network, *sizes)
        network.bias.data[::2] = -10

    monkeypatch.setattr(_sparse_autoencoder.DictionaryNetwork, "__init__", begin_half_dead)
    for weight, most in ((0.0, 32), (_sparse_autoencoder.REVIVAL_WEIGHT, 16)):
        monkeypatch.setattr(_sparse_autoencoder, "REVIVAL_WEIGHT", weight)
        with pytest.warns(SpecialistWarning, match="atoms are in no sample"):
            model = SparseAutoencoder(64, n_nonzero_coefs=2, random_state=0).fit(X)
        assert model.dead_.sum() <= most
        assert weight or model.dead_.sum() == most


def test_more_atoms_of_a_sample_than_there_are():
    with pytest.raises(ValueError, match="n_nonzero_coefs=9 exceeds the number of atoms"):
        SparseAutoencoder(8, n_nonzero_coefs=9).fit(np.eye(5))
