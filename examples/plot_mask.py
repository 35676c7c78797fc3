"""
Which latents each task uses
============================

Six latents are mixed by a nonlinear, invertible network into the features that we get to see.
Four tasks depend on three of the latents, two each. The encoder sees features and tasks.
"""

# %%
# The data
# --------

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
# A blank cell is exactly zero. The encoder's latents have an order of their own and may be
# mixed among themselves: compare how many are used, not which, nor which task uses which.

encoder = SparseSpecialistEncoderCV(random_state=0).fit(X, y)
MaskDisplay.from_estimator(encoder)

# %%
# How many latents the tasks need shows in cross-validation: the share of the tasks that is
# explained rises until there are enough, and hardly after.

SparsityPathDisplay.from_estimator(encoder)

# %%
# Do these latents predict the tasks? The mean R2 on new rows:

print(f"{encoder.score(X_new, y_new):.3f}")

# %%
# What the latents hold
# ---------------------
#
# What counts is that the latents kept determine the relevant latents of the world, and know
# nothing of the others: R2 of predicting each of them from what ``transform`` returns, near 1
# for the relevant ones and not above 0 for the others.

r2 = block_r2(encoder.transform(X_new), data.latents[2000:])
pd.DataFrame({"relevant": data.relevant, "R2": r2.round(2)}).rename_axis("latent")
