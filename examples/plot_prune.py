"""
A pretrained network for few labels
===================================

A classifier of the digits 0 to 4 is adapted to the digits 5 to 9 with 60 labels. The
channels that the new digits use least are cut out, the others are trained, and the result is
compared with a linear head on the network as it is.
"""

# %%
# Pretrained network
# ------------------

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from skspecialist import PruneThenFinetune

X, y = load_digits(return_X_y=True)
X, is_old = X / 16, y < 5

torch.manual_seed(0)
network = nn.Sequential(
    nn.Unflatten(1, (1, 8, 8)),
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.Conv2d(16, 32, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Conv2d(32, 32, 3, padding=1),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
)
trained = nn.Sequential(network, nn.Linear(32, 5))
images, labels = torch.tensor(X[is_old], dtype=torch.float32), torch.tensor(y[is_old])
optimizer = torch.optim.Adam(trained.parameters(), lr=3e-3)
for _ in range(8):
    for batch in torch.randperm(len(images)).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(trained(images[batch]), labels[batch]).backward()
        optimizer.step()

# %%
# Adaptation
# ----------
#
# ``report`` shows the strategy that won in held-out samples, and the size and operations that are
# left.

new = np.random.default_rng(0).permutation(np.flatnonzero(~is_old))
train, test = new[:60], new[60:]
pruned = PruneThenFinetune(network, keep=0.3, learning_rate=3e-3, random_state=0)
pruned.fit(X[train], y[train])
for name, value in pruned.report().items():
    print(f"{name}: {value}")

# %%
# Accuracy, and that of the head alone and of the whole network, trained on the same labels:

for strategy in ("head", "full"):
    other = PruneThenFinetune(
        network, strategy=strategy, cv=None, learning_rate=3e-3, random_state=0
    ).fit(X[train], y[train])
    print(strategy, round(other.score(X[test], y[test]), 3))
print(pruned.strategy_, round(pruned.score(X[test], y[test]), 3))

# %%
# Channels that are left, by the layer that reads them:

fig, ax = plt.subplots(figsize=(6, 2))
for row, kept in enumerate(pruned.masks_.values()):
    ax.scatter(np.flatnonzero(kept), np.full(kept.sum(), row), marker="|", s=200)
ax.set_yticks(range(len(pruned.masks_)), list(pruned.masks_))
_ = ax.set(xlabel="channel", ylim=(-0.7, len(pruned.masks_) - 0.3))
