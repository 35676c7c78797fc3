"""
Which time steps belong to which task
=====================================

Sequences of states in which four tasks interleave, overlap and repeat, each a sum over hidden
actions of its own segments. A fifth task is pure noise. Nothing tells the identifier which steps
belong to which task: it has the states and the value of each task at the end.
"""

# %%
# The data
# --------
#
# One number per step, so that it is plain what is there to see: in each sequence a noisy curve.

import pandas as pd

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_collider_sequences
from skspecialist.inspection import TaskStructureDisplay
from skspecialist.metrics import structure_scores

data = make_collider_sequences(
    1000,
    n_timesteps=24,
    n_tasks=4,
    segment_length=3,
    n_null_tasks=1,
    action_noise=1.0,
    random_state=0,
)
X, y, X_new, y_new = data.X[:500], data.y[:500], data.X[500:], data.y[500:]
X.shape, y.shape

# %%
# Fit
# ---
#
# The default asks, for each segment and task, whether the two are dependent given the states
# around the segment. At most one in twenty of the segments found should be wrong, on average.

identifier = TaskStructureIdentifier(segment_length=3, alpha=0.05).fit(X, y)
display = TaskStructureDisplay.from_estimator(identifier, true_step_tasks=data.step_weights)

# %%
# The noise task has no steps, which is right: filled squares are steps found rightly, open ones
# were missed, crosses are false discoveries.

# %%
# Criteria and evidence
# ---------------------
#
# The collider criterion is the one of the paper. It looks at pairs of segments, which is weaker
# evidence. Taking all steps of a segment as its evidence is valid only if actions do not drive
# the next state. Here they do, so that segments *after* a task's own are joined to it.
#
# The last column needs no known truth: what the steps found say about the tasks of *new*
# sequences, in nats per sequence. Steps that were missed cost much, irrelevant ones little.

settings = {
    "direct": {},
    "direct, all steps": {"segment_steps": "all"},
    "direct, last step": {"segment_steps": "last"},
    "collider": {"criterion": "collider"},
}
table = {}
for name, parameters in settings.items():
    identifier = TaskStructureIdentifier(segment_length=3, **parameters).fit(X, y)
    table[name] = {
        **structure_scores(data.structure, identifier.structure_),
        "score": identifier.score(X_new, y_new),
    }
pd.DataFrame(table).T.round(2)
