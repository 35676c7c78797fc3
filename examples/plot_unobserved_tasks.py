"""
Unobserved tasks
================

Sequences are often recorded *because* of a success: demonstrations that reached their goals,
sessions that ended in a purchase, patients who recovered. Several unobserved tasks may have
succeeded. Each of them makes its steps dependent: if one contributed little, others must have
contributed more.
"""

# %%
# Data
# ----
#
# Three tasks interleave in chains of states. Only sequences in which all three succeeded are kept,
# so there is no ``y``.

import warnings

import matplotlib.pyplot as plt
import numpy as np

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.inspection import TaskStructureDisplay
from skspecialist.metrics import match_columns, structure_scores

settings = {"n_timesteps": 20, "n_tasks": 3, "action_noise": 0.0, "action_effect": 0.0}
data = make_collider_sequences(5000, selection=True, random_state=3, **settings)
data.X.shape, data.y

# %%
# Partial correlations
# --------------------
#
# Partial correlations of neighboring steps are those of the chain. In addition, the steps of each
# task form a clique. Cliques overlap, and are hard to separate by eye.

precision = np.linalg.inv(np.corrcoef(data.X[:, :, 0].T))
scale = np.sqrt(np.diag(precision))
partial = -precision / np.outer(scale, scale)
np.fill_diagonal(partial, 0)
figure, ax = plt.subplots(figsize=(4.6, 4))
image = ax.imshow(partial, cmap="RdBu", vmin=-0.5, vmax=0.5)
steps = range(0, 20, 4)
ax.set(xticks=steps, yticks=steps, xlabel="time step", ylabel="time step")
figure.colorbar(image, label="partial correlation")

# %%
# Fit
# ---
#
# Without ``y`` the identifier removes the chain, and explains the other partial correlations by
# the smallest number of tasks. The order of the tasks is arbitrary; each is matched with the true
# one with which it agrees most.

identifier = TaskStructureIdentifier(2, random_state=0).fit(data.X)
structure_scores(data.structure, identifier.structure_, match=True)

# %%
identifier.to_frame()[["task", "start", "stop", "relevant", "effect_size", "selection_frequency"]]

# %%
found = match_columns(data.step_weights, identifier.step_mask_)
display = TaskStructureDisplay(found, true_step_tasks=data.step_weights).plot()

# %%
# Without selection
# -----------------
#
# In the same chains without selection, unobserved tasks leave no trace, and ``fit`` warns.

plain = make_collider_sequences(5000, random_state=3, **settings)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    n_tasks = TaskStructureIdentifier(2, random_state=0).fit(plain.X).n_tasks_
n_tasks, str(caught[0].message)
