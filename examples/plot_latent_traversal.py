"""
What a latent does to an image
==============================

A latent is a number, and its name is 0 or 1. What it stands for shows in what becomes of an image
when nothing but this number changes.
"""

# %%
# The data
# --------
#
# Handwritten digits, drawn anew: shifted, rotated, scaled, and with a broader or finer pen. Tasks
# depend on the rotation and on the width of the pen, and on nothing else.

import matplotlib.pyplot as plt
import pandas as pd

from skspecialist import SparseSpecialistEncoder
from skspecialist.datasets import make_digit_factors
from skspecialist.inspection import LatentTraversalDisplay
from skspecialist.metrics import block_r2

train, test = (
    make_digit_factors(1000, relevant=["rotation", "thickness"], subset=half, random_state=0)
    for half in ("train", "test")
)
figure, axes = plt.subplots(1, 10, figsize=(9, 1.2))
for ax, image in zip(axes, train.images, strict=False):
    ax.imshow(image, cmap="gray_r")
    ax.set_axis_off()

# %%
# Fit
# ---
#
# That there are two is said here, to be quick;
# :class:`~skspecialist.SparseSpecialistEncoderCV` would find it. Which two nobody says: the encoder
# has pixels and the values of six tasks.

encoder = SparseSpecialistEncoder(
    n_relevant=2, sparsity=0.0, hidden_layer_sizes=(64, 64), max_epochs=15, random_state=0
).fit(train.X, train.y)
display = LatentTraversalDisplay.from_estimator(encoder, image_shape=(16, 16))

# %%
# Together the two hold what the tasks need, and little else: R2 of each factor of images that were
# not fitted on, predicted from them. Each alone may be a mixture of both.

r2 = block_r2(encoder.transform(test.X), test.latents)
pd.Series(r2.round(2), index=test.factor_names, name="R2").to_frame()
