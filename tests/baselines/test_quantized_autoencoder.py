"""Autoencoders with quantized latents."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.decomposition import PCA

from skspecialist.baselines import QuantizedAutoencoder
from skspecialist.baselines._quantized_autoencoder import QuantizedNetwork
from skspecialist.datasets import make_shape_factors
from skspecialist.metrics import infomec


def test_latents_are_learned_values_and_are_decoded():
    X = make_shape_factors(200, image_size=8, random_state=0).X
    model = QuantizedAutoencoder(3, n_values=4, max_epochs=5, random_state=0)
    latents = model.fit_transform(X)
    assert model.values_.shape == (3, 4)
    for latent, values in zip(latents.T, model.values_, strict=True):
        assert set(latent) <= set(values)
    decoded = model.inverse_transform(latents)
    assert decoded.shape == X.shape
    assert_allclose(model.inverse_transform(latents[:, None]), decoded[:, None])
    plain = QuantizedAutoencoder(3, n_values=None, max_epochs=5, random_state=0).fit(X)
    assert plain.values_ is None
    assert len(np.unique(plain.transform(X)[:, 0])) > 100


def test_gradients_are_those_of_the_two_terms_of_the_source():
    torch.manual_seed(0)
    rows = torch.randn(50, 1, 5)
    network = QuantizedNetwork([5, 4, 2], 3, 0.1, 0.0)
    parameters = list(network.parameters())
    ours = torch.autograd.grad(sum(network.losses(network(rows, None), {}).values()), parameters)
    latents = network.encoder(rows[:, 0])[0]
    distances = (latents[:, :, None] - network.codebook).abs()
    quantized = torch.stack(
        [network.codebook[j][distances[:, j].argmin(dim=1)] for j in range(2)], dim=1
    )
    decoded = network.decode(latents + (quantized - latents).detach())
    loss = (decoded - rows[:, 0]).square().mean()
    loss = loss + 0.1 * (latents.detach() - quantized).square().mean()
    loss = loss + 0.1 * (latents - quantized.detach()).square().mean()
    for found, expected in zip(ours, torch.autograd.grad(loss, parameters), strict=True):
        assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_quantized_latents_follow_the_factors_more():
    data = make_shape_factors(2000, random_state=1)
    X = PCA(48, random_state=0).fit_transform(data.X)
    discrete = np.arange(5) == 0
    plain, quantized = (
        infomec(
            data.latents[1000:],
            QuantizedAutoencoder(n_values=n_values, random_state=0)
            .fit(X[:1000])
            .transform(X[1000:]),
            discrete=discrete,
            discrete_latents=n_values is not None,
        )
        for n_values in (None, 10)
    )
    assert quantized.modularity > plain.modularity
    assert quantized.explicitness > plain.explicitness


def test_layers_without_units_are_an_error():
    with pytest.raises(ValueError, match="hidden_layer_sizes must be positive"):
        QuantizedAutoencoder(hidden_layer_sizes=(0,)).fit(np.eye(4))
