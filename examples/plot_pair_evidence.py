"""
The evidence behind a task
==========================

Which steps belong to a task is a yes or no for each. How close was it? Here each step is the image
of a handwritten digit, and the tasks are functions of the digits in some steps: with few sequences
some answers are safe, and others just made it or just did not.
"""

# %%
# Safe, barely, barely not
# ------------------------
#
# Behind the marks is the evidence: minus the decimal logarithm of the adjusted p-value, so that
# 1.3 is the level 0.05. Light behind a filled square is a step that just made it.

import pandas as pd
from sklearn.decomposition import PCA

from skspecialist import TaskStructureIdentifier
from skspecialist.datasets import make_digit_sequences
from skspecialist.inspection import PairEvidenceDisplay, TaskStructureDisplay
from skspecialist.metrics import structure_scores


def digits(n_sequences):
    """Return sequences of digits, the principal components of the images, and the tasks."""
    data = make_digit_sequences(n_sequences, random_state=0)
    components = PCA(10).fit_transform(data.X.reshape(-1, 64)).reshape(n_sequences, 16, 10)
    return data, components, pd.DataFrame(data.y, columns=data.task_kinds)


data, X, y = digits(250)
direct = TaskStructureIdentifier(segment_steps="all").fit(X, y)
display = TaskStructureDisplay.from_estimator(
    direct, true_step_tasks=data.step_weights, confidence=True
)

# %%
# Pairs
# -----
#
# The collider criterion asks another question: do two segments depend on each other once the
# task's value is known? If so many large digits were shown in all, more of them here means fewer
# there. Each two segments of a task explain each other away, so that its pairs form a clique.

data, X, y = digits(3000)
collider = TaskStructureIdentifier(criterion="collider", segment_steps="all").fit(X, y)
display = PairEvidenceDisplay.from_estimator(collider, task="large")

# %%
# How clear it has to be
# ----------------------
#
# A pair speaks through the product of two effects, which is weaker than one. The direct criterion
# got further with a twelfth of the sequences:

direct_scores = structure_scores(data.structure, direct.structure_)
collider_scores = structure_scores(data.structure, collider.structure_)
pd.DataFrame(
    {"direct, 250 sequences": direct_scores, "collider, 3,000 sequences": collider_scores}
).T[["mcc", "recall", "false_discovery_proportion"]].round(2)
