"""
Weak labels of motion capture
=============================

People were recorded while they did several exercises in any order. The labels are the exercises
that occur in windows of six seconds, without their times. :class:`~skspecialist.TaskLocalizer`
locates each exercise in a held-out recording.

.. figure:: /_static/motion_capture.png
   :alt: Probability of each exercise in the held-out recording, with its estimated and true steps.

   Figure of the script below. The data are not part of this package, so that the script is not run
   when the documentation is built.
"""

# %%
# Data
# ----
#
# Six recordings of CMU's motion capture database, as prepared and labeled by Fox, Hughes, Sudderth
# and Jordan, "Joint modeling of multiple time series via the beta process with application to
# motion capture segmentation", *Annals of Applied Statistics* (2014): 12 angles and positions of
# the body at ten frames per second, with labels of 12 exercises. They are published as `mocap6.mat
# <https://github.com/michaelchughes/mocap6dataset>`_; the file of this example has them as ``x0``
# to ``x5`` and ``z0`` to ``z5``.

# sphinx_gallery_thumbnail_path = '_static/motion_capture.png'
import os
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from skspecialist import TaskLocalizer
from skspecialist.inspection import TaskTimelineDisplay

data = np.load(Path(os.environ["SKSPECIALIST_DATA"]) / "mocap" / "mocap6.npz")

# %%
# Exercises cannot be recognized in a single frame. A step is half a second, with the mean, the
# logarithm of the standard deviation and the mean absolute difference of every channel over five
# frames.


def steps_of(frames, exercise):
    """Return the features of half seconds, and the most frequent exercise of each."""
    n = len(frames) // 5
    steps, labels = frames[: 5 * n].reshape(n, 5, -1), exercise[: 5 * n].reshape(n, 5)
    moved = np.abs(np.diff(steps, axis=1)).mean(axis=1)
    features = np.hstack([steps.mean(axis=1), np.log(steps.std(axis=1) + 0.01), moved])
    return features, np.array([np.bincount(label).argmax() for label in labels])


(X_new, exercise_new), *others = (steps_of(data[f"x{i}"], data[f"z{i}"]) for i in range(6))

# %%
# The first recording is held out. The others are divided into windows of six seconds, labeled with
# the exercises that occur in them.

windows = [
    (features[start : start + 12], exercise[start : start + 12], recording)
    for recording, (features, exercise) in enumerate(others)
    for start in range(0, len(features) - 11, 3)
]
X, exercise, recording = (np.array(column) for column in zip(*windows, strict=True))
exercises = np.unique(exercise)
occurs = (exercise[:, :, None] == exercises).any(axis=1)  # weak labels
y = pd.DataFrame(occurs, columns=data["action_names"][exercises - 1])

# %%
# Fit
# ---
#
# Exercises last for seconds, so that scores are averaged over neighboring steps (``smoothing=1``).
# Windows of one recording share steps and the person: ``groups`` keeps them in the same fold when
# the thresholds of ``predict`` are calibrated.

localizer = TaskLocalizer(smoothing=1, random_state=0).fit(X, y, groups=recording)
truth = exercise_new[:, None] == exercises
figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
TaskTimelineDisplay.from_estimator(localizer, X_new, truth, ax=ax)
ax.set_xlabel("half second of the recording")
figure.savefig("motion_capture.png", dpi=120)

# %%
# Evaluation
# ----------
#
# Average precision of each exercise in the recording, and their mean, compared with that of random
# scores, which is the prevalence of the exercise.

chances, found = localizer.predict_proba([X_new])[0], localizer.predict([X_new])[0]
present = truth.any(axis=0)
precision = average_precision_score(truth[:, present], chances[:, present], average=None)
table = pd.DataFrame(
    {"average precision": precision, "chance": truth[:, present].mean(axis=0)},
    index=y.columns[present],
)
table.loc["mean"] = table.mean()
print(table.round(2))
print(f"found: {(found & truth).sum() / truth.sum():.2f} of the true steps")
print(f"false: {(found & ~truth).sum() / found.sum():.2f} of those found")

# %%
# .. code-block:: text
#
#                     average precision  chance
#    JumpJack                      1.00    0.11
#    Squat                         0.97    0.17
#    KneeRaise                     0.98    0.24
#    ArmCircle                     0.88    0.16
#    Twist                         0.95    0.16
#    ToeTouchOneHand               0.99    0.17
#    mean                          0.96    0.17
#    found: 0.70 of the true steps
#    false: 0.05 of those found
#
# Six exercises occur in only one of the five recordings, so that their thresholds cannot be
# calibrated on held-out recordings. ``predict`` does not find these, and warns. ToeTouchOneHand is
# one of them, and is nevertheless ranked well. :doc:`/user_guide/localizer` contains the results
# of other recordings and methods.
