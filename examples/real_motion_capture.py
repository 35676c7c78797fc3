"""
Exercises in motion capture, told only what is in six seconds
=============================================================

People were recorded as they did one exercise after another, in an order of their own. Of windows of
six seconds it is known which exercises are in them, and not when. In a recording that it never saw,
:class:`~skspecialist.TaskLocalizer` says when each of them is done.

.. figure:: /_static/motion_capture.png
   :alt: How likely each exercise is in the recording held out, and where it is found and true.

   Drawn by the script below. Its data are no part of this package: this page was built without
   running it, and shows what it drew and printed.
"""

# %%
# The data
# --------
#
# Six recordings of CMU's motion capture database, as prepared and labeled by Fox, Hughes, Sudderth
# and Jordan, "Joint modeling of multiple time series via the beta process with application to
# motion capture segmentation", *Annals of Applied Statistics* (2014): 12 angles and positions of
# the body, ten times a second, and which of 12 exercises is being done. `mocap6.mat
# <https://github.com/michaelchughes/mocap6dataset>`_ has them; the file read here holds the same as
# ``x0`` to ``x5`` and ``z0`` to ``z5``.

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
# A tenth of a second does not tell an exercise, half a second does: of its five frames a step has
# the mean of every channel, how much it varies, and how far it moves from frame to frame.


def steps_of(frames, exercise):
    """Return the features of half seconds, and the exercise that is most of each."""
    n = len(frames) // 5
    cut, labels = frames[: 5 * n].reshape(n, 5, -1), exercise[: 5 * n].reshape(n, 5)
    moved = np.abs(np.diff(cut, axis=1)).mean(axis=1)
    features = np.hstack([cut.mean(axis=1), np.log(cut.std(axis=1) + 0.01), moved])
    return features, np.array([np.bincount(label).argmax() for label in labels])


(X_new, exercise_new), *others = (steps_of(data[f"x{i}"], data[f"z{i}"]) for i in range(6))

# %%
# The first recording is held out. The others are cut into windows of six seconds, and of a window
# it is kept which exercises occur in it. One that occurs in none of them cannot be learned.

windows = [
    (features[start : start + 12], exercise[start : start + 12], recording)
    for recording, (features, exercise) in enumerate(others)
    for start in range(0, len(features) - 11, 3)
]
X, exercise, recording = (np.array(column) for column in zip(*windows, strict=True))
exercises = np.unique(exercise)
occurs = (exercise[:, :, None] == exercises).any(axis=1)  # all that is known
y = pd.DataFrame(occurs, columns=data["action_names"][exercises - 1])

# %%
# Fit
# ---
#
# Exercises last for seconds, so that the score of a step is averaged with its neighbors'
# (``smoothing=1``). Windows of one recording share steps and the person: ``groups`` keeps them
# together where ``fit`` holds some out to set the thresholds of ``predict``.

localizer = TaskLocalizer(smoothing=1, random_state=0).fit(X, y, groups=recording)
truth = exercise_new[:, None] == exercises
figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
TaskTimelineDisplay.from_estimator(localizer, X_new, truth, ax=ax)
ax.set_xlabel("half second of the recording")
figure.savefig("motion_capture.png", dpi=120)

# %%
# How well it does
# ----------------
#
# Average precision of each exercise that is in the recording, and their mean. Beside it what random
# scores have, the share of the steps with the exercise.

chances, found = localizer.predict_proba([X_new])[0], localizer.predict([X_new])[0]
there = truth.any(axis=0)
precision = average_precision_score(truth[:, there], chances[:, there], average=None)
table = pd.DataFrame(
    {"average precision": precision, "chance": truth[:, there].mean(axis=0)},
    index=y.columns[there],
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
# Six exercises occur in one of the five recordings only, so that no scorer that did not learn from
# it knows them. ``predict`` finds nothing of these, and warns of it. ToeTouchOneHand is one of
# them, and is ranked well all the same. How other recordings and other methods do is in
# :doc:`/user_guide/localizer`.
