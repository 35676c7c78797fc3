"""
Latent traversal
================

The meaning of a latent is visible in images that are decoded from varying values of this latent,
with all others fixed.
"""

# %%
# Data
# ----
#
# Handwritten digits, redrawn with random position, rotation, size and line width. The tasks depend
# only on the rotation and on the line width.

# sphinx_gallery_thumbnail_number = 2
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
# The encoder is fitted to pixels and the values of six tasks. The number of relevant latents is
# given here, for speed; :class:`~skspecialist.SparseSpecialistEncoderCV` estimates it.

encoder = SparseSpecialistEncoder(
    n_relevant=2, sparsity=0.0, hidden_layer_sizes=(64, 64), max_epochs=15, random_state=0
).fit(train.X, train.y)
display = LatentTraversalDisplay.from_estimator(encoder, image_shape=(16, 16))

# %%
# Together the two latents contain the relevant factors and little else, as shown by the R2 of each
# factor of held-out images. Each latent may be a mixture of both factors.

r2 = block_r2(encoder.transform(test.X), test.latents)
pd.Series(r2.round(2), index=test.factor_names, name="R2").to_frame()
