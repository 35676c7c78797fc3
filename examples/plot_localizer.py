"""
Which steps belong to which task, in sequences that do not align
================================================================

Images come in any order, and of a sequence of them it is only known whether some task occurs in
it, here: whether a digit of a set is among them. Nobody says where.
:class:`~skspecialist.TaskLocalizer` finds the images that make the difference. It sees pixels, and
never a digit's label.
"""

# %%
# The data
# --------
#
# Each sequence has 20 images of handwritten digits, drawn at random from those of four digits, so
# that both tasks occur in some sequences and not in others. The images of the sequences to look at
# later are others than those to learn from.

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
y = pd.DataFrame(steps.any(axis=1), columns=list(sets))  # all that is known
y.mean().round(2)

# %%
# Fit
# ---
#
# ``predict_proba`` says how likely each image has each task, and ``predict`` which ones count as
# found if one in ten of those may be false: ``alpha=0.1``.

localizer = TaskLocalizer(max_epochs=12, random_state=0).fit(X, y)
one = np.flatnonzero(steps_new.any(axis=1).all(axis=1))[0]  # a sequence with both tasks
display = TaskTimelineDisplay.from_estimator(localizer, X_new[one], steps_new[one])

# %%
# The same sequence as images, with the probability of the second task below each.

probability = localizer.predict_proba(X_new[[one]])[0, :, 1]
figure, axes = plt.subplots(2, 10, figsize=(9, 2.6), layout="constrained")
for ax, image, chance in zip(axes.flat, X_new[one], probability, strict=True):
    ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
    ax.set(xticks=[], yticks=[], xlabel=f"{chance:.2f}")
_ = figure.suptitle(f"Probability of {localizer.task_names_[1]}")

# %%
# How well it ranks the images of all sequences, where an image by chance has the first task in one
# case of ten and the second in one of five; what share of the true ones it finds; and what share of
# those that it finds is false.


def quality(localizer, X, steps):
    """Return what the localizer finds in sequences of which the steps are known."""
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
# Hardly any of what it finds is false, in new images either: ``alpha`` allows one in ten, and no
# step that is more likely without the task than with it counts. A quarter of the true ones is
# missed.

# %%
# Smooth sequences
# ----------------
#
# Sensors and embeddings of video do not jump from step to step. Let each step be 0.9 of the step
# before it plus a new image: traces of a digit now linger on.


def chain(X):
    """Return sequences in which each step carries the steps before it."""
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
# A scorer that looks at a step alone finds the task wherever traces of it are left, and these are
# not in sequences without the task, from which ``predict`` learns what is certain enough: most of
# what it finds is false. With ``conditional=True`` the scorer is shown as well what the
# step before does not explain.

localizers = {
    name: TaskLocalizer(conditional=name == "conditional", max_epochs=12, random_state=0).fit(
        X_smooth, y
    )
    for name in ("marginal", "conditional")
}
pd.concat({name: quality(fitted, X_smooth_new, steps_new) for name, fitted in localizers.items()})

# %%
display = TaskTimelineDisplay.from_estimator(
    localizers["marginal"], X_smooth_new[one], steps_new[one]
)
_ = display.ax_.set_title("Step alone", loc="left", fontsize="medium", pad=22)

# %%
display = TaskTimelineDisplay.from_estimator(
    localizers["conditional"], X_smooth_new[one], steps_new[one]
)
_ = display.ax_.set_title("With what is new in it", loc="left", fontsize="medium", pad=22)

# %%
# In practice nobody knows the true steps. ``score``, the last column, does not need them: it is the
# log-likelihood of what is known of new sequences, and is higher for what finds the steps. So
# ``GridSearchCV(TaskLocalizer(), {"conditional": [False, True]})`` makes this choice.
