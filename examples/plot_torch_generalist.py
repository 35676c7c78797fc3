"""
Layers of a pretrained network
==============================

Each layer of a pretrained network is a generalist representation. Early layers contain all
information, in a form that simple models cannot use; late layers are specific to the task of the
network. The best layer for other tasks is chosen by held-out scores.
"""

# %%
# Pretrained network
# ------------------
#
# A small classifier of single digits takes the place of a foundation model.

import matplotlib.pyplot as plt
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from torch import nn

from skspecialist import SparseMultiTaskSelector, SpecialistPipeline, TorchGeneralist
from skspecialist.datasets import make_digit_sequences
from skspecialist.inspection import TaskStructureDisplay

singles = make_digit_sequences(4000, n_timesteps=2, n_tasks=1, subset="train", random_state=1)
images = torch.tensor(singles.X, dtype=torch.float32).reshape(-1, 1, 8, 8)
labels = torch.tensor(singles.digits).flatten()

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.ReLU(),
    nn.MaxPool2d(2),
    nn.Flatten(),
    nn.Linear(256, 32),
    nn.ReLU(),
    nn.Linear(32, 10),
)
optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
for _ in range(4):
    for batch in torch.randperm(len(images)).split(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images[batch]), labels[batch]).backward()
        optimizer.step()

# %%
# Comparison of layers
# --------------------
#
# The tasks are functions of the digits in some steps of a sequence, for which the network was not
# trained, and the test images are not in its training set. Principal components limit the number
# of columns in the tests of the structure. Each task is predicted by ridge regression on all
# components at its own steps.

train, test = (
    make_digit_sequences(500, n_timesteps=12, subset=half, random_state=0)
    for half in ("train", "test")
)
layers = {"pixels": None, "convolution": "2", "hidden units": "5", "output": "6"}
pipelines = {}
for name, layer in layers.items():
    states = TorchGeneralist(network, layers=layer, input_shape=(1, 8, 8))
    pipelines[name] = SpecialistPipeline(
        generalist=PCA(10) if layer is None else make_pipeline(states, PCA(10, random_state=0)),
        encoder=SparseMultiTaskSelector(heads="linear", sparsity=0.0, max_epochs=5),
        estimator=RidgeCV(),
        random_state=0,
    ).fit(train.X, train.y)
scores = {name: pipeline.score(test.X, test.y) for name, pipeline in pipelines.items()}

figure, ax = plt.subplots(figsize=(5.5, 2.6), layout="constrained")
bars = ax.barh(list(scores), list(scores.values()), color="#0072B2")
ax.bar_label(bars, fmt="%.2f", padding=3)
ax.invert_yaxis()
ax.set(xlabel="R2 of the tasks, new sequences", xlim=(0, 1))
ax.spines[["top", "right"]].set_visible(False)

# %%
# Estimated steps
# ---------------

best = max(scores, key=scores.get)
print(f"Best: {best}")
display = TaskStructureDisplay.from_estimator(
    pipelines[best].structure_, true_step_tasks=train.step_weights, confidence=True
)
