"""
Calibration of conditional independence tests
=============================================

Segments are selected by p-values, which should be uniform under the null hypothesis and small
otherwise. Whether they are depends on the form of the relations. This example compares the
distributions of the p-values of three tests.
"""

# %%
# Data
# ----
#
# In all of three models ``z`` drives ``x`` and ``y``, linearly in the first and through a sine in
# the other two. Only in the third are ``x`` and ``y`` dependent given ``z``: the square of the
# noise of ``x`` is added to ``y``.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skspecialist.independence import GCM, RCIT, FisherZ

n_samples, n_repetitions = 300, 200
rng = np.random.default_rng(0)
z, noise_x, noise_y = rng.normal(size=(3, n_repetitions, n_samples))
linear, bent = 0.7 * z, np.sin(2 * z)
x = bent + 0.5 * noise_x
models = {
    "independent, linear": (linear + 0.5 * noise_x, linear + 0.5 * noise_y),
    "independent, a sine of z": (x, bent + 0.5 * noise_y),
    "dependent through a square": (x, bent + 0.5 * noise_y + noise_x**2 / 4),
}

# %%
# Distribution of p-values
# ------------------------
#
# The empirical distribution function is on the diagonal if p-values are uniform, and above it if
# the test exceeds its level.

tests = {"Fisher z": FisherZ(), "RCIT": RCIT(), "GCM": GCM()}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True, layout="constrained")
rejected = {}
for ax, (model, (sides_x, sides_y)) in zip(axes, models.items(), strict=True):
    for (name, test), style in zip(tests.items(), ("-", "--", ":"), strict=True):
        triples = zip(sides_x, sides_y, z, strict=True)
        pvalues = np.array([test.test(*triple).pvalue for triple in triples])
        rejected[name, model] = (pvalues <= 0.05).mean()
        ax.ecdf(pvalues, ls=style, lw=2, label=name)
    ax.axline((0, 0), slope=1, color="0.6", lw=0.8)
    ax.set(title=model, xlabel="p-value", xlim=(-0.04, 1), ylim=(0, 1.04))
axes[0].set_ylabel("cumulative proportion")
legend = axes[0].legend(loc="lower right")

# %%
# Level and power
# ---------------
#
# The rejection rates at a significance level of 0.05 should be about 0.05 in the first two columns
# and 1 in the last. Fisher z is exact for linear relations. Otherwise it rejects a true null
# hypothesis, so that its power in the last column is meaningless. The other two tests keep the
# level, and detect most of the dependence.

pd.Series(rejected).unstack()[list(models)].loc[list(tests)]
