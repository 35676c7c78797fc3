"""
Localization with weak labels
=============================

The images of a sequence are in random order, and the only labels are those of whole sequences:
whether some digit of a set occurs. :class:`~skspecialist.TaskLocalizer` locates these digits. Its
inputs are pixels; labels of single images are not used.
"""

# %%
# Data
# ----
#
# Each sequence has 20 images, drawn at random from those of four digits, so that both tasks occur
# in some sequences and not in others. The images of the test sequences are not in the training
# set.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.metrics import average_precision_score

from skspecialist import TaskLocalizer
from skspecialist.inspection import TaskTimelineDisplay

images, labels = load_digits(return_X_y=True)
images = images / 16
sets = {"a 3": [3], "a 1 or a 7": [1, 7]}
rng = np.random.default_rng(0)


def draw(n_sequences, pool):
    """Return sequences of images, and which steps have which task."""
    kinds = [rng.choice(10, 4, replace=False) for _ in range(n_sequences)]
    shown = np.array([rng.choice(pool[np.isin(labels[pool], four)], 20) for four in kinds])
    steps = np.stack([np.isin(labels[shown], digits) for digits in sets.values()], axis=2)
    return images[shown], steps


learn, look = np.split(rng.permutation(len(labels)), [900])
X, steps = draw(600, learn)
X_new, steps_new = draw(200, look)
y = pd.DataFrame(steps.any(axis=1), columns=list(sets))  # weak labels
y.mean().round(2)

# %%
# Fit
# ---
#
# ``predict_proba`` returns the probability of each task at each step. The threshold of ``predict``
# controls the false discovery rate at ``alpha=0.1``.

localizer = TaskLocalizer(max_epochs=12, random_state=0).fit(X, y)
one = np.flatnonzero(steps_new.any(axis=1).all(axis=1))[0]  # a sequence with both tasks
display = TaskTimelineDisplay.from_estimator(localizer, X_new[one], steps_new[one])

# %%
# The images of this sequence, with the probability of the second task below each.

probability = localizer.predict_proba(X_new[[one]])[0, :, 1]
figure, axes = plt.subplots(2, 10, figsize=(9, 2.6), layout="constrained")
for ax, image, chance in zip(axes.flat, X_new[one], probability, strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], xlabel=f"{chance:.2f}")
_ = figure.suptitle(f"Probability of {localizer.task_names_[1]}")

# %%
# Average precision over the steps of all sequences (the prevalence of the first task is about one
# in ten, of the second one in five), the proportion of true steps that are found, and the
# proportion of false ones among the steps found.


def quality(localizer, X, steps):
    """Return metrics of a localizer on sequences with known steps."""
    chances, found = localizer.predict_proba(X), localizer.predict(X)
    score = localizer.score(X, steps.any(axis=1))
    rows = {}
    for task, name in enumerate(sets):
        true, chosen = steps[..., task], found[..., task]
        rows[name] = {
            "average precision": average_precision_score(true.ravel(), chances[..., task].ravel()),
            "found": (chosen & true).sum() / true.sum(),
            "false": (chosen & ~true).sum() / max(1, chosen.sum()),
            "score": score,  # of both tasks together
        }
    return pd.DataFrame(rows).T.round(2)


X_seen, steps_seen = draw(200, learn)
pd.concat(
    {
        "new sequences": quality(localizer, X_seen, steps_seen),
        "new images": quality(localizer, X_new, steps_new),
    }
)

# %%
# Hardly any steps found are false, for new images as well: the target rate is one in ten, and the
# threshold is at least a probability of one half. A quarter of the true steps is missed.

# %%
# Autocorrelated sequences
# ------------------------
#
# Sensor data and embeddings of video are autocorrelated. Let each step be 0.9 times the step
# before it plus a new image, so that traces of a digit persist.


def chain(X):
    """Return autocorrelated sequences."""
    smooth = X.copy()
    for step in range(1, X.shape[1]):
        smooth[:, step] += 0.9 * smooth[:, step - 1]
    return smooth


X_smooth, X_smooth_new = chain(X), chain(X_new)
figure, axes = plt.subplots(1, 10, figsize=(9, 1.3), layout="constrained")
for ax, image in zip(axes, X_smooth_new[one], strict=False):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
    ax.set(xticks=[], yticks=[])

# %%
# A scorer of single steps detects all traces of a task. Sequences without the task, on which the
# threshold is calibrated, do not contain such traces, and most steps found are false. With
# ``conditional=True`` the scorer also uses innovations, the residuals of a regression on the step
# before.

localizers = {
    name: TaskLocalizer(conditional=conditional, max_epochs=12, random_state=0).fit(X_smooth, y)
    for name, conditional in {"steps": False, "steps and innovations": True}.items()
}
pd.concat({name: quality(fitted, X_smooth_new, steps_new) for name, fitted in localizers.items()})

# %%
for name, fitted in localizers.items():
    display = TaskTimelineDisplay.from_estimator(fitted, X_smooth_new[one], steps_new[one])
    _ = display.ax_.set_title(name.capitalize(), loc="left", fontsize="medium", pad=22)

# %%
# In practice the true steps are unknown. ``score``, the last column, does not need them: it is the
# log-likelihood of the weak labels of new sequences, and higher for the model that locates the
# steps. ``GridSearchCV(TaskLocalizer(), {"conditional": [False, True]})`` therefore makes the
# right choice.
