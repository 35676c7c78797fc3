"""
Ten minutes with real images
============================

From raw sequences to a decision, step by step. The sequences are small films of handwritten
digits. For each film three numbers are known, the *tasks*, and each of them depends on what was
shown at some moments. Nobody says at which moments, nor what a digit is.
"""

# %%
# 1. The sequences
# ----------------
#
# 600 films to learn from, and 600 of other images to check everything with in the end. A film has
# 12 steps, a step has 64 pixels. The tasks are the sum of the digits at some steps, how many are
# odd at some, and how many are five or more at some.

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
# Four films and their tasks. Framed are the steps whose digits make up the sum. This is the truth,
# which has to be found: no estimator gets to see the frames.

SequenceDisplay(
    train.X[:4], train.step_weights, task_names=train.task_kinds, image_shape=(8, 8)
).plot(task="sum")
y_train.head(4).round(1)

# %%
# 2. A generalist representation
# ------------------------------
#
# Usually you have one: the embeddings of a large model. Here ten principal components of the pixels
# take its place. They were made for no task in particular. There must be more sequences than
# columns, which is why there are ten and not 64.

pca = PCA(10).fit(train.X.reshape(-1, 64))
states = pca.transform(train.X.reshape(-1, 64)).reshape(600, 12, 10)

# %%
# 3. Which steps?
# ---------------
#
# For each task and each *segment*, here two steps, the identifier tests whether they have anything
# to do with each other that the neighboring steps do not explain. ``alpha=0.01`` says that of the
# segments found one in a hundred may be wrong, on average.

identifier = TaskStructureIdentifier(segment_length=2, alpha=0.01).fit(states, y_train)
identifier.to_frame()[["task", "segment", "relevant", "effect_size", "adjusted_pvalue"]].head(6)

# %%
# A filled square is a step found rightly, an open one was missed, a cross is a false discovery.
# With data of your own there is no truth to compare with, and the display shows what was found:

TaskStructureDisplay.from_estimator(identifier, true_step_tasks=train.step_weights)

# %%
# Without a truth, new sequences can say whether to believe it: how much better are the tasks
# explained if one knows the steps found than if one knows none? In nats per sequence; zero would
# mean that nothing was gained.

states_test = pca.transform(test.X.reshape(-1, 64)).reshape(600, 12, 10)
float(round(identifier.score(states_test, test.y), 2))

# %%
# 4. Which part of each step, and is it worth it?
# -----------------------------------------------
#
# Ten numbers describe a step, and the tasks need few: whether a digit is odd does not depend on how
# thick it was drawn. An encoder finds *latents*, new numbers computed from the ten, of which each
# task reads as few as possible, at its own steps only.
#
# Reading less is only good if it costs nothing. The pipeline finds steps and latents by itself, and
# decides for each task, on sequences set aside for it, whether reading little predicts at least as
# well as reading everything. Where it does not, the generalist stays in charge.

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
# An empty cell is exactly zero: that task does not read that latent. A row with one entry is a task
# for which a single number of a step is enough. The warning that was silenced says what that may
# mean here: three latents for three tasks can be the tasks' own share of a step, rather than
# something behind them.
#
# 5. The decision
# ---------------
#
# How much was gained on the sequences set aside, with one standard error:

SpecialistGainDisplay.from_estimator(pipeline)

# %%
# Is that true of images that it never saw? The same estimator, told never to specialize, reads all
# ten components of all twelve steps:

generalist = SpecialistPipeline(PCA(10), strategy="generalist", random_state=0)
generalist.fit(train.X, y_train)
pd.DataFrame(
    {
        "R2": [pipeline.score(test.X, test.y), generalist.score(test.X, test.y)],
        "features a task": [
            np.mean(pipeline.n_features_used_),
            np.mean(generalist.n_features_used_),
        ],
    },
    index=["pipeline", "generalist"],
).round(2)

# %%
# What it looks at for one of the tasks, in films that it never saw:

SequenceDisplay(
    test.X[:4],
    pipeline.structure_.step_mask_,
    task_names=train.task_kinds,
    image_shape=(8, 8),
).plot(task="odd")

# %%
# 6. Your own data
# ----------------
#
# - Put your sequences into an array ``(n_sequences, n_timesteps, n_features)``, with NaN for steps
#   that are missing; :func:`~skspecialist.sequences_from_frame` makes one of a table.
# - If step 5 of one sequence has nothing to do with step 5 of another, take
#   :class:`~skspecialist.TaskLocalizer` in the place of the identifier.
# - How long a segment, how many latents, how many sequences: :doc:`/user_guide/choosing`.
# - What has to hold for all this, and what you will see if it does not:
#   :doc:`/user_guide/structure` and :doc:`/user_guide/encoder`.
