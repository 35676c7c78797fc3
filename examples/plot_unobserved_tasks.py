"""
Tasks that nobody observed
==========================

Sequences are often kept *because* something succeeded in them: demonstrations that reached their
goals, sessions that ended in a purchase, patients who recovered. What succeeded may have been
several things at once, and no column says which. Still, every one of these tasks ties the steps
that served it together: where one step did little for it, another must have done more.
"""

# %%
# The data
# --------
#
# Chains of states in which three tasks interleave. Only sequences in which all three succeeded are
# kept, so there is nothing to hand over as ``y``.

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
# What selection leaves behind
# ----------------------------
#
# Partial correlations of the steps: those of neighbors are the chain. Beyond them, each task
# leaves a clique between all of its steps. Cliques overlap, so the eye does not get far.

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
# Without ``y`` the identifier takes out the chain, explains what is left by as few tasks as it
# can, and finds their number as well. They come in no particular order; to compare them with the
# true ones, each is matched with the one that it agrees with most.

identifier = TaskStructureIdentifier(random_state=0).fit(data.X)
structure_scores(data.structure, identifier.structure_, match=True)

# %%
identifier.to_frame()[["task", "start", "stop", "relevant", "effect_size", "selection_frequency"]]

# %%
found = match_columns(data.step_weights, identifier.step_mask_)
display = TaskStructureDisplay(found, true_step_tasks=data.step_weights).plot()

# %%
# Nothing to find
# ---------------
#
# The same chains without selection: tasks that are not observed leave no trace, and a warning
# says so in place of an answer.

plain = make_collider_sequences(5000, random_state=3, **settings)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    n_tasks = TaskStructureIdentifier(random_state=0).fit(plain.X).n_tasks_
n_tasks, str(caught[0].message)
