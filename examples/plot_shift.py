"""
Spurious features in two environments
=====================================

The task is whether a handwritten digit is odd. In addition to pixels there are three marks, which
agree with the label at the place where most of the training images were collected. Predictions
from the marks fail elsewhere. Such spurious features cannot be detected in one environment, but in
two.
"""

# %%
# Data
# ----
#
# Nine in ten images are from the first of two places, where the marks are high for odd digits. At
# the second place they are high for even ones.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skspecialist import SparseMultiTaskSelector, SpecialistPipeline

rng = np.random.default_rng(0)


def with_marks(pixels, odd, meaning):
    """Return pixels and marks, which agree with ``odd`` (1) or contradict it (-1)."""
    signal = meaning * (2 * odd - 1)
    return np.hstack([pixels, signal[:, None] + 0.6 * rng.normal(size=(len(odd), 3))])


pixels, digits = load_digits(return_X_y=True)
pixels, new_pixels, odd, new_odd = train_test_split(
    pixels, digits % 2, test_size=600, random_state=0
)
place = rng.choice(["first", "second"], p=[0.9, 0.1], size=len(odd))
X = with_marks(pixels, odd, np.where(place == "first", 1, -1))

# %%
# Fit
# ---
#
# The pipeline is fitted twice. With ``environments``, features whose relation to the task differs
# between places are dropped.

pipeline = SpecialistPipeline(
    encoder=SparseMultiTaskSelector(heads="linear", max_epochs=10),
    n_timesteps=1,
    random_state=0,
)
models = {
    "without environments": clone(pipeline).fit(X, odd),
    "with environments": clone(pipeline).fit(X, odd, environments=place),
}

# %%
# Distribution shift
# ------------------
#
# New images, from places where the association of marks and label is weaker, absent, or reversed.

meanings = np.linspace(-1, 1, 9)
elsewhere = [with_marks(new_pixels, new_odd, meaning) for meaning in meanings]
accuracy = pd.DataFrame(
    {name: [model.score(new, new_odd) for new in elsewhere] for name, model in models.items()},
    index=pd.Index(meanings, name="association of the marks"),
)
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(accuracy.iloc[:, 0], "s--", color="#E69F00", label="without environments")
ax.plot(accuracy.iloc[:, 1], "o-", color="#0072B2", label="with environments")
ax.set_xticks([-1, 0, 1], ["as at the second place", "none", "as at the first"])
ax.set(xlabel="association of marks and label", ylabel="accuracy on new images")
legend = ax.legend(loc="lower right")

# %%
# Ignoring the marks costs little accuracy where they are predictive, and gains much where they are
# misleading:

accuracy.iloc[[0, 4, 8]].round(2)
