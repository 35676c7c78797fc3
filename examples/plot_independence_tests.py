"""
Which test of conditional independence
======================================

Every segment found rests on a p-value. It is worth what its test is worth: if there is nothing
to find, p-values must be uniform, and if there is something, small. Whether they are depends on
the shape of the relations, and a picture of many p-values tells.
"""

# %%
# Three worlds
# ------------
#
# In all of them ``z`` drives ``x`` and ``y``. In the first it does so linearly, in the other two
# by a sine. Only in the third does ``x`` say anything about ``y`` that ``z`` does not: the noise of
# ``x``, squared, is part of ``y``.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from skspecialist.independence import GCM, RCIT, FisherZ

n_samples, n_repetitions = 300, 200
rng = np.random.default_rng(0)
z, noise_x, noise_y = rng.normal(size=(3, n_repetitions, n_samples))
linear, bent = 0.7 * z, np.sin(2 * z)
x = bent + 0.5 * noise_x
worlds = {
    "independent, linear": (linear + 0.5 * noise_x, linear + 0.5 * noise_y),
    "independent, a sine of z": (x, bent + 0.5 * noise_y),
    "dependent through a square": (x, bent + 0.5 * noise_y + noise_x**2 / 4),
}

# %%
# Many p-values
# -------------
#
# A curve is the share of p-values that are at most the number below it: on the diagonal if they are
# uniform, above it where the test rejects more often than it says.

tests = {"Fisher z": FisherZ(), "RCIT": RCIT(), "GCM": GCM()}
figure, axes = plt.subplots(1, 3, figsize=(9, 3.2), sharey=True, layout="constrained")
rejected = {}
for ax, (world, (sides_x, sides_y)) in zip(axes, worlds.items(), strict=True):
    for (name, test), style in zip(tests.items(), ("-", "--", ":"), strict=True):
        triples = zip(sides_x, sides_y, z, strict=True)
        pvalues = np.array([test.test(*triple).pvalue for triple in triples])
        rejected[name, world] = (pvalues <= 0.05).mean()
        ax.ecdf(pvalues, ls=style, lw=2, label=name)
    ax.axline((0, 0), slope=1, color="0.6", lw=0.8)
    ax.set(title=world, xlabel="p-value", xlim=(-0.04, 1), ylim=(0, 1.04))
axes[0].set_ylabel("share of p-values up to it")
legend = axes[0].legend(loc="lower right")

# %%
# What to take
# ------------
#
# The share rejected at 0.05, which should be about 0.05 in the first two columns and 1 in the last.
# Fisher z is exact if relations are linear. If they are not, it rejects whatever there is, so that
# its 1 in the last column says nothing either. The other two stay near 0.05 where there is nothing,
# and find most of what there is.

pd.Series(rejected).unstack()[list(worlds)].loc[list(tests)]
