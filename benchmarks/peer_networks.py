"""Networks that the encoder is compared with, written by hand without the library."""

import math

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

HIDDEN = 128
HEAD_HIDDEN = 64
BATCH, MAX_EPOCHS, WEIGHT_DECAY = 256, 200, 1e-2


def mlp(n_in, n_out):
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(n_in, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(),
        nn.Linear(HIDDEN, n_out),
    )  # fmt: skip


class Heads(nn.Module):
    """A network of two hidden layers for each task, all tasks in one product."""

    def __init__(self, n_in, n_tasks):
        super().__init__()
        bound = 1 / math.sqrt(HEAD_HIDDEN)
        self.first = nn.Linear(n_in, n_tasks * HEAD_HIDDEN)
        self.weight = nn.Parameter(torch.empty(n_tasks, HEAD_HIDDEN, HEAD_HIDDEN))
        self.bias = nn.Parameter(torch.empty(n_tasks, 1, HEAD_HIDDEN))
        self.last = nn.Parameter(torch.empty(n_tasks, 1, HEAD_HIDDEN))
        self.last_bias = nn.Parameter(torch.zeros(n_tasks))
        for parameter in (self.weight, self.bias, self.last):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, z):
        """Return (n, T) predictions."""
        h = F.relu(self.first(z)).view(len(z), len(self.weight), -1).transpose(0, 1)
        h = F.relu(torch.baddbmm(self.bias, h, self.weight))
        return (h * self.last).sum(dim=2).T + self.last_bias


class Bottleneck(nn.Module):
    """Latents of unit variance, read by a decoder, by all tasks' heads, or by both."""

    def __init__(self, n_features, n_tasks, *, n_latents, reconstruct, serve):
        super().__init__()
        self.encoder = nn.Sequential(
            mlp(n_features, n_latents), nn.BatchNorm1d(n_latents, affine=False)
        )
        self.decoder = mlp(n_latents, n_features) if reconstruct else None
        self.heads = Heads(n_latents, n_tasks) if serve else None

    def loss(self, x, y):
        """Mean squared errors of features and of tasks, weighted equally."""
        z = self.encoder(x)
        loss = 0.0 if self.decoder is None else F.mse_loss(self.decoder(z), x)
        return loss if self.heads is None else loss + F.mse_loss(self.heads(z), y)

    def encode(self, x):
        """Return all latents."""
        return self.encoder(x)


class StochasticGates(nn.Module):
    """Features times noisy gates, clipped to 0 and 1, in front of a bottleneck of width d.

    Source: Yamada, Lindenbaum, Negahban and Kluger, Feature selection using stochastic gates,
    ICML 2020. A gate costs the probability that it is open.
    """

    PENALTY, NOISE = 0.1, 0.5

    def __init__(self, n_features, n_tasks, **bottleneck):
        super().__init__()
        self.means = nn.Parameter(torch.full((n_features,), 0.5))
        self.net = Bottleneck(n_features, n_tasks, **bottleneck)

    def loss(self, x, y):
        """Loss of the bottleneck, and the penalty on the share of open gates."""
        gates = (self.means + self.NOISE * torch.randn_like(x)).clamp(0, 1)
        share = torch.special.ndtr(self.means / self.NOISE).mean()
        return self.net.loss(gates * x, y) + self.PENALTY * share

    def encode(self, x):
        """Return the features whose gate is open without noise."""
        return x[:, self.means > 0]


class IdentifiableVAE(nn.Module):
    """Variational autoencoder whose prior of the latents is a Gaussian given the tasks.

    Source: Khemakhem, Kingma, Monti and Hyvärinen, Variational autoencoders and nonlinear ICA,
    AISTATS 2020. Their posterior reads the tasks as well, which are not known for new rows:
    ours is q(z | x). The decoder's variance is theirs.
    """

    VARIANCE = 0.01

    def __init__(self, n_features, n_tasks, *, n_latents):
        super().__init__()
        self.encoder = mlp(n_features, 2 * n_latents)
        self.prior = mlp(n_tasks, 2 * n_latents)
        self.decoder = mlp(n_latents, n_features)

    def loss(self, x, y):
        """Negative evidence lower bound for each feature, up to a constant factor."""
        mean, log_variance = self.encoder(x).chunk(2, dim=1)
        prior_mean, prior_log_variance = self.prior(y).chunk(2, dim=1)
        z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        ratio = torch.exp(log_variance - prior_log_variance)
        distance = (mean - prior_mean).square() * torch.exp(-prior_log_variance)
        divergence = 0.5 * (ratio + distance - 1 - torch.log(ratio)).sum(dim=1).mean()
        # Times the variance: gradients are as large as those of a mean squared error.
        return 0.5 * F.mse_loss(self.decoder(z), x) + self.VARIANCE * divergence / x.shape[1]

    def encode(self, x):
        """Return the posterior means."""
        return self.encoder(x).chunk(2, dim=1)[0]


class Network(TransformerMixin, BaseEstimator):
    """Train a module by its ``loss(x, y)``; transform by its ``encode(x)``.

    Parameters
    ----------
    module : callable
        Takes the numbers of features and tasks.
    lr : float
        The highest learning rate of the cycle.
    n_updates : int, default=2500
        Fewer if they would be more than 200 epochs.
    random_state : int, default=0
        Initial weights, order of rows and noise; torch's generator is left as it was.
    """

    def __init__(self, module, *, lr, n_updates=2500, random_state=0):
        self.module = module
        self.lr = lr
        self.n_updates = n_updates
        self.random_state = random_state

    def fit(self, X, y):
        """Standardize and train."""
        self.scaler_ = StandardScaler().fit(X)
        x, y = self._tensor(X), standardized_tasks(y)
        with torch.random.fork_rng():
            torch.manual_seed(self.random_state)
            self.module_ = self.module(x.shape[1], y.shape[1])
            self._train(x, y)
        return self

    def _tensor(self, X):
        return torch.as_tensor(self.scaler_.transform(X), dtype=torch.float32)

    def _train(self, x, y):
        batch = min(BATCH, len(x))
        per_epoch = len(x) // batch  # full batches: batch normalization needs them
        n_updates = min(self.n_updates, MAX_EPOCHS * per_epoch)
        groups = [{"params": [], "weight_decay": 0.0}, {"params": []}]
        for name, parameter in self.module_.named_parameters():
            groups[not name.endswith(("bias", "means"))]["params"].append(parameter)
        optimizer = torch.optim.AdamW(groups, lr=self.lr, weight_decay=WEIGHT_DECAY, fused=True)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, n_updates)
        self.module_.train()
        for update in range(n_updates):
            if update % per_epoch == 0:
                order = torch.randperm(len(x))
            start = update % per_epoch * batch
            rows = order[start : start + batch]
            optimizer.zero_grad()
            self.module_.loss(x[rows], y[rows]).backward()
            optimizer.step()
            schedule.step()
        self.module_.eval()

    def transform(self, X):
        """Return the latents, float64."""
        with torch.no_grad():
            return self.module_.encode(self._tensor(X)).numpy().astype(np.float64)


def standardized_tasks(y):
    """Return the tasks at zero mean and unit variance, as a tensor."""
    return torch.as_tensor(StandardScaler().fit_transform(y), dtype=torch.float32)
