"""
Exercises in a stream of motion capture
=======================================

Steps of three recordings arrive one by one. :class:`~skspecialist.OnlineTaskSegmenter` finds where
the exercise changes, and which exercises return, without labels. The data are not part of this
package (see :doc:`/gallery/real_motion_capture`), so that the script is not run when the
documentation is built.
"""

import os
from pathlib import Path

import numpy as np

from skspecialist import OnlineTaskSegmenter

data = np.load(Path(os.environ["SKSPECIALIST_DATA"]) / "mocap" / "mocap6.npz")

# %%
# A step is half a second, with the mean, the logarithm of the standard deviation and the mean
# absolute difference of every channel.


def steps_of(frames):
    """Return the features of half seconds."""
    steps = frames[: len(frames) // 5 * 5].reshape(-1, 5, frames.shape[1])
    moved = np.abs(np.diff(steps, axis=1)).mean(axis=1)
    return np.hstack([steps.mean(axis=1), np.log(steps.std(axis=1) + 0.01), moved])


segmenter = OnlineTaskSegmenter()
for recording in (0, 2, 4):
    steps = steps_of(data[f"x{recording}"])
    labels = []
    for t in range(len(steps)):
        segmenter.partial_fit(steps[t : t + 1], last=t == len(steps) - 1)
        labels.extend(segmenter.labels_)
    exercises = data[f"z{recording}"][: 5 * len(steps)].reshape(-1, 5)
    exercises = np.array([np.bincount(part).argmax() for part in exercises])
    starts = np.flatnonzero(np.diff(labels, prepend=-1))
    names = [
        str(data["action_names"][exercises[min(start + 1, len(steps) - 1)] - 1]) for start in starts
    ]
    print(f"recording {recording}")
    for start, name in zip(starts.tolist(), names, strict=True):
        print(f"  step {start:2}: task {labels[start]}  ({name})")

# %%
# .. code-block:: text
#
#    recording 0
#      step  0: task 0  (JumpJack)
#      step  8: task 1  (Twist)
#      step 19: task 2  (ArmCircle)
#      step 32: task 3  (ToeTouchOneHand)
#      step 45: task 4  (KneeRaise)
#      step 63: task 5  (Squat)
#      step 75: task 1  (Squat)
#    recording 2
#      step  0: task 1  (Twist)
#      step  7: task 4  (KneeRaise)
#      step 16: task 3  (ToeTouchOneHand)
#      step 23: task 1  (Twist)
#      step 27: task 0  (Jog)
#      step 35: task 2  (ArmCircle)
#      step 45: task 0  (JumpJack)
#    recording 4
#      step  0: task 0  (JumpJack)
#      step  8: task 6  (Jog)
#      step 18: task 5  (Squat)
#      step 26: task 4  (KneeRaise)
#      step 38: task 2  (ArmCircle)
#      step 59: task 1  (Twist)
#
# The method was developed on these recordings. :doc:`/user_guide/stream` has the figures of others.
