"""
Layers that carry the tasks
===========================

A small network is trained to recognize digits. Which of its layers carry the digit, and which the
amount of ink and the height of the center of mass, which the network was not trained for?
"""

# %%
# Data and network
# ----------------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from torch import nn

from skspecialist import FeatureGroupRanker, TorchGeneralist
from skspecialist.inspection import FeatureGroupDisplay

images, digits = load_digits(return_X_y=True)
images = (images / 16).astype(np.float32)
pixels = images.reshape(-1, 8, 8)

tasks = pd.DataFrame(
    {
        "digit": digits.astype(str),
        "ink": images.sum(axis=1).astype(float),
        "height": (pixels.sum(axis=2) @ np.arange(8) / pixels.sum(axis=(1, 2))).astype(float),
    }
)

torch.manual_seed(0)
network = nn.Sequential(
    *(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 24), nn.ReLU()),
    *(nn.Linear(24, 24), nn.ReLU(), nn.Linear(24, 10)),
)
optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
X, y = torch.from_numpy(images[:900]), torch.from_numpy(digits[:900])
for _ in range(200):
    optimizer.zero_grad()
    nn.functional.cross_entropy(network(X), y).backward()
    optimizer.step()

# %%
# All layers in one run
# ---------------------
#
# The images of this part were not used for training.

layers = TorchGeneralist(network, layers=["1", "3", "5", "6"])
states = layers.fit_transform(images[900:])
states.shape, {name: len(columns) for name, columns in layers.feature_groups_.items()}

# %%
# Ranking
# -------
#
# A layer that repeats a better one comes last in a pursuit, shares the gain by Shapley values, and
# ranks next to it by probes. Selected layers, in color, suffice for all tasks.

figure, axes = plt.subplots(1, 3, figsize=(10, 2.4), layout="constrained", sharey=True)
for method, ax in zip(("pursuit", "shapley", "probe"), axes, strict=True):
    ranker = FeatureGroupRanker(layers.feature_groups_, method=method, random_state=0)
    ranker.fit(states, tasks[900:])
    FeatureGroupDisplay.from_estimator(ranker, ax=ax)
    ax.set_xlabel(f"gain, {method}")

# %%
# Gain of each layer alone, by task: the digit is most nearly linear in the last hidden layer, "5",
# whereas ink and height fade from layer to layer.

names = list(layers.feature_groups_)
pd.DataFrame(ranker.task_scores_, index=tasks.columns, columns=names).round(2)
