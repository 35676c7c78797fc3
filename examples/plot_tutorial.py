"""
Tutorial
========

A complete analysis of sequences of images, in ten minutes. Each step of a sequence is the image of
a handwritten digit. Three *tasks* are observed for each sequence, and each depends on the digits
in some of the steps. Neither these steps nor the digits are given.
"""

# %%
# 1. Sequences and tasks
# ----------------------
#
# There are 600 training sequences, and 600 test sequences of other images, of 12 steps with 64
# pixels each. The tasks are the sum of the digits in some steps, the number of odd ones in some,
# and the number of those of at least five in some.

import warnings

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline, TaskStructureIdentifier
from skspecialist.datasets import make_digit_sequences
from skspecialist.exceptions import SpecialistWarning
from skspecialist.inspection import (
    MaskDisplay,
    SequenceDisplay,
    SpecialistGainDisplay,
    TaskStructureDisplay,
)

train, test = (
    make_digit_sequences(600, n_timesteps=12, n_tasks=3, subset=half, random_state=0)
    for half in ("train", "test")
)
y_train = pd.DataFrame(train.y, columns=train.task_kinds)
train.X.shape, train.y.shape

# %%
# Four sequences and their tasks. The frames mark the steps that enter the sum, the ground truth
# that is to be estimated.

SequenceDisplay(
    train.X[:4], train.step_weights, task_names=train.task_kinds, image_shape=(8, 8)
).plot(task="sum")
y_train.head(4).round(1)

# %%
# 2. A generalist representation
# ------------------------------
#
# In practice, these are the embeddings of a large model. Here ten principal components of the
# pixels take their place, which do not depend on any task. The tests require more sequences than
# columns; hence ten components instead of 64 pixels.

pca = PCA(10).fit(train.X.reshape(-1, 64))
states = pca.transform(train.X.reshape(-1, 64)).reshape(600, 12, 10)

# %%
# 3. Task structure
# -----------------
#
# For each task and each *segment*, here of two steps, the identifier tests whether they are
# dependent given the neighboring steps. ``alpha=0.01`` is the target false discovery rate: on
# average, at most one in a hundred of the selected segments is false.

identifier = TaskStructureIdentifier(segment_length=2, alpha=0.01).fit(states, y_train)
identifier.to_frame()[["task", "segment", "relevant", "effect_size", "adjusted_pvalue"]].head(6)

# %%
# Filled squares are correct steps, open ones were missed, and crosses are false discoveries.
# Without a ground truth the display shows the estimate only.

TaskStructureDisplay.from_estimator(identifier, true_step_tasks=train.step_weights)

# %%
# New sequences validate a structure without a ground truth. The score is the gain in
# log-likelihood of their tasks, in nats per sequence, over the model without any structure.

states_test = pca.transform(test.X.reshape(-1, 64)).reshape(600, 12, 10)
float(round(identifier.score(states_test, test.y), 2))

# %%
# 4. Sparse latents
# -----------------
#
# Each step is described by ten components, of which the tasks need little: whether a digit is odd
# does not depend on its line width. An encoder computes *latents* from the components, of which
# each task uses as few as possible, at its own steps only.
#
# The pipeline estimates steps and latents, and compares the specialist of each task with the
# generalist on held-out sequences. If the specialist is worse, the pipeline falls back to the
# generalist.

pipeline = SpecialistPipeline(
    generalist=PCA(10),
    structure=TaskStructureIdentifier(alpha=0.01),
    encoder=SparseSpecialistEncoder(heads="linear", max_epochs=15),
    random_state=0,
)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", SpecialistWarning)
    pipeline.fit(train.X, y_train)
MaskDisplay.from_estimator(pipeline.encoder_)

# %%
# Empty cells are exactly zero: the task does not use the latent. A row with a single entry is a
# task for which one latent per step is sufficient. The suppressed warning points out that three
# latents for three tasks may be the contributions of a step to the tasks, rather than their
# causes.
#
# 5. Specialist or generalist
# ---------------------------
#
# Gains on held-out sequences, with standard errors:

SpecialistGainDisplay.from_estimator(pipeline)

# %%
# The R2 on the test set, beside that of the same estimator with ``strategy="generalist"``, which
# uses all ten components of all twelve steps:

generalist = SpecialistPipeline(PCA(10), strategy="generalist", random_state=0)
generalist.fit(train.X, y_train)
pd.DataFrame(
    {
        "R2": [pipeline.score(test.X, test.y), generalist.score(test.X, test.y)],
        "features per task": [
            np.mean(pipeline.n_features_used_),
            np.mean(generalist.n_features_used_),
        ],
    },
    index=["pipeline", "generalist"],
).round(2)

# %%
# The estimated steps of one task, in test sequences:

SequenceDisplay(
    test.X[:4],
    pipeline.structure_.step_mask_,
    task_names=train.task_kinds,
    image_shape=(8, 8),
).plot(task="odd")

# %%
# 6. Next steps
# -------------
#
# - Sequences are arrays ``(n_sequences, n_timesteps, n_features)``, with NaN for missing steps;
#   :func:`~skspecialist.sequences_from_frame` converts tables.
# - If sequences are not aligned, use :class:`~skspecialist.TaskLocalizer` instead of the
#   identifier.
# - The length of segments, the number of latents and the sample size: :doc:`/user_guide/choosing`.
# - Assumptions, and the symptoms of their violation: :doc:`/user_guide/structure` and
#   :doc:`/user_guide/encoder`.
