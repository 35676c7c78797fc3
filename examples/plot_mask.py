"""
Latents of each task
====================

A nonlinear, invertible network mixes six latents into the observed features. Four tasks depend on
three of the latents, each on two. The encoder is fitted to features and tasks.
"""

# %%
# Data
# ----

import pandas as pd

from skspecialist import SparseSpecialistEncoderCV
from skspecialist.datasets import make_specialist_latents
from skspecialist.inspection import MaskDisplay, SparsityPathDisplay
from skspecialist.metrics import block_r2

data = make_specialist_latents(3000, n_latents=6, n_relevant=3, n_tasks=4, random_state=2)
X, y, X_new, y_new = data.X[:2000], data.y[:2000], data.X[2000:], data.y[2000:]
MaskDisplay(data.mask).plot()

# %%
# Fit
# ---
#
# Blank cells are exactly zero. The order of the encoder's latents is arbitrary and they may be
# mixed within their block: their number can be compared with the true mask, but not their pattern.

encoder = SparseSpecialistEncoderCV(random_state=0).fit(X, y)
MaskDisplay.from_estimator(encoder)

# %%
# The number of latents is chosen by cross-validation: the explained fraction of the task loss
# rises up to the required number, and hardly beyond.

SparsityPathDisplay.from_estimator(encoder)

# %%
# Mean R2 of the tasks on held-out rows:

print(f"{encoder.score(X_new, y_new):.3f}")

# %%
# Recovery of the true latents
# ----------------------------
#
# The latents that are kept should determine the relevant true latents, and contain no information
# about the others. The R2 of each true latent, predicted from the output of ``transform``, is near
# 1 for the relevant ones and not above 0 for the others.

r2 = block_r2(encoder.transform(X_new), data.latents[2000:])
pd.DataFrame({"relevant": data.relevant, "R2": r2.round(2)}).rename_axis("latent")
