"""Pooling of the scores of steps, and its loss."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.special import expit, logit, logsumexp

from skspecialist.localizer._networks import POOLINGS, TOP_SHARE, PooledLoss, smooth

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(-1, 2, size=(3, 2, 8, 15))  # (n_groups, n_tasks, n_samples, n_timesteps)
LENGTHS = np.array([15, 1, 2, 5, 10, 11, 14, 15])
THERE = (np.arange(15) < LENGTHS[:, None]).astype(float)


def expected(pooling, logits):
    """Return the pooled logit of one sequence."""
    if pooling == "noisy_or":
        return logit(1 - np.prod(1 - expit(logits)))
    if pooling == "log_sum_exp":
        return logsumexp(logits) - np.log(len(logits))
    return np.sort(logits)[-int(np.ceil(TOP_SHARE * len(logits))) :].mean()


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_poolings_are_their_formulas(pooling):
    found = POOLINGS[pooling](torch.tensor(LOGITS), torch.tensor(THERE)).numpy()
    for place in np.ndindex(found.shape):
        assert_allclose(found[place], expected(pooling, LOGITS[place][: LENGTHS[place[2]]]))


@pytest.mark.parametrize("pooling", list(POOLINGS))
def test_extreme_logits_stay_finite(pooling):
    for value in (-200.0, 200.0):
        logits = torch.full((1, 1, 1, 4), value, requires_grad=True)
        pooled = POOLINGS[pooling](logits, torch.ones(1, 4))
        pooled.sum().backward()
        assert torch.isfinite(pooled).all()
        assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("width", [0, 1, 3, 20])
def test_smoothing_is_the_mean_of_the_steps_there_are(width):
    found = smooth(torch.tensor(LOGITS), torch.tensor(THERE), width).numpy()
    for i, n in enumerate(LENGTHS):
        for t in range(n):
            near = LOGITS[:, :, i, max(0, t - width) : min(n, t + width + 1)]
            assert_allclose(found[:, :, i, t], near.mean(axis=-1), atol=1e-12)


def test_the_null_model_costs_one():
    y = torch.tensor(np.column_stack([RNG.normal(3, 2, 50), RNG.random(50) < 0.3]))
    loss = PooledLoss(torch.tensor([True, False]), y, torch.ones_like(y))
    share = y[:, 1].mean()
    outputs = torch.stack([y[:, 0].mean(), torch.logit(share)]).expand(1, 50, 2)
    assert_allclose(loss(outputs, y).mean(dim=1).numpy(), 1.0)
