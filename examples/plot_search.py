"""
Grid search with the one-standard-error rule
============================================

A search over the length of segments and the significance level must keep the sequences of one
person in the same fold; otherwise scores are biased for new persons. The best of many noisy scores
is partly due to chance: among the candidates within one standard error of the best, the rule
selects the one with the fewest features.
"""

# %%
# Data
# ----
#
# Forty persons with ten sequences each. A step consists of eight principal components of the
# image of a handwritten digit, and an offset that depends on the person. Three tasks depend on
# segments of three steps.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV, GroupKFold

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_digit_sequences
from skspecialist.metrics import structure_scores
from skspecialist.model_selection import one_standard_error_rule

data = make_digit_sequences(400, n_timesteps=24, n_tasks=3, segment_length=3, random_state=0)
person = np.arange(400) // 10
offset = 0.2 * np.random.default_rng(0).normal(size=(40, 1, 8))
X = PCA(8).fit_transform(data.X.reshape(-1, 64)).reshape(400, 24, 8) + offset[person]

# %%
# Search
# ------
#
# The score of the identifier is the held-out log-likelihood gain in nats. A second metric, minus
# the number of selected steps, measures sparsity for the rule.


def neg_n_steps(identifier, X, y=None):
    """Return minus the number of steps, summed over tasks."""
    return -identifier.step_mask_.sum()


search = GridSearchCV(
    TaskStructureIdentifier(2, segment_steps="all"),
    {"segment_length": [1, 2, 3, 4, 6], "alpha": [0.001, 0.01, 0.05, 0.2]},
    cv=GroupKFold(5),
    scoring={"nats": TaskStructureIdentifier.score, "neg_n_features_used": neg_n_steps},
    refit=one_standard_error_rule,
).fit(X, data.y, groups=person)
search.best_params_

# %%
# Score and sparsity
# ------------------
#
# Each point is a candidate. The band is one standard error below the best.

results = pd.DataFrame(search.cv_results_)
best = results.mean_test_nats.idxmax()
error = results.filter(regex="split._test_nats").std(axis=1)[best] / np.sqrt(5)
steps, nats = -results.mean_test_neg_n_features_used, results.mean_test_nats

figure, ax = plt.subplots(figsize=(6.5, 4), layout="constrained")
ax.axhspan(nats[best] - error, nats[best], color="0.88", label="one standard error")
shades = plt.colormaps["viridis"](np.linspace(0, 0.88, 5))
lengths = results.groupby("param_segment_length").groups.items()
for (length, rows), shade, marker in zip(lengths, shades, "ov^sP", strict=True):
    ax.plot(steps[rows], nats[rows], marker, ls="-", lw=0.7, color=shade, label=f"length {length}")
for index, color, size, label in (
    (best, "black", 13, "best"),
    (search.best_index_, "#D55E00", 18, "chosen"),
):
    ax.plot(steps[index], nats[index], "o", ms=size, mfc="none", mec=color, mew=1.6, label=label)
ax.set(xlabel="steps, summed over tasks (mean over folds)", ylabel="held-out nats per sequence")
legend = ax.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, labelspacing=0.9)

# %%
# Comparison with the ground truth
# --------------------------------
#
# Candidates fitted to all sequences, compared with the true steps:

structures = {
    "best": search.estimator.set_params(**results.params[best]).fit(X, data.y).step_mask_,
    "chosen": search.best_estimator_.step_mask_,
}
scores = {name: structure_scores(data.step_weights, found) for name, found in structures.items()}
pd.DataFrame(scores).T[["mcc", "recall", "false_discovery_proportion"]].round(2)
