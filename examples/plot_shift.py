"""
Features that mislead
=====================

Is a handwritten digit odd? Beside the pixels of each image there are marks that somebody made, and
where most of the training images were collected they go along with the answer. Who reads them
fails where they mean something else. Data from one place cannot tell; data from two can.
"""

# %%
# The data
# --------
#
# Two places: at the first, which nine in ten images are from, the three marks are high for odd
# digits, at the second they are high for even ones.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline

rng = np.random.default_rng(0)


def with_marks(pixels, odd, meaning):
    """Return pixels and marks, which go along with ``odd`` (1) or against it (-1)."""
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
# The same pipeline twice. Told which image is from which place, it drops features whose relation
# to the task is not the same everywhere.

pipeline = SpecialistPipeline(
    encoder=SparseSpecialistEncoder(hidden_layer_sizes=None, heads="linear", max_epochs=10),
    n_timesteps=1,
    random_state=0,
)
models = {
    "without environments": clone(pipeline).fit(X, odd),
    "with environments": clone(pipeline).fit(X, odd, environments=place),
}

# %%
# Elsewhere
# ---------
#
# New images, from places where the marks mean more or less, nothing, or the opposite.

meanings = np.linspace(-1, 1, 9)
elsewhere = [with_marks(new_pixels, new_odd, meaning) for meaning in meanings]
accuracy = pd.DataFrame(
    {name: [model.score(new, new_odd) for new in elsewhere] for name, model in models.items()},
    index=pd.Index(meanings, name="meaning of the marks"),
)
figure, ax = plt.subplots(figsize=(6, 3.4), layout="constrained")
ax.plot(accuracy.iloc[:, 0], "s--", color="#E69F00", label="without environments")
ax.plot(accuracy.iloc[:, 1], "o-", color="#0072B2", label="with environments")
ax.set_xticks([-1, 0, 1], ["as at the second place", "nothing", "as at the first"])
ax.set(xlabel="meaning of the marks", ylabel="accuracy on new images")
legend = ax.legend(loc="lower right")

# %%
# Not to read the marks costs a little where they would have helped, and saves much where they
# mislead:

accuracy.iloc[[0, 4, 8]].round(2)
