"""
Pipeline on sequences of digits
===============================

Each step of a sequence is the image of a handwritten digit. The tasks are functions of the digits
in some of the steps: their sum, the numbers of odd and of large digits, and the largest. Only
pixels and the values of the tasks are observed.
"""

# %%
# Data
# ----
#
# Training and test sequences have the same structure and different images.

import pandas as pd
from sklearn.decomposition import PCA

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline
from skspecialist.datasets import make_digit_sequences
from skspecialist.inspection import SequenceDisplay, SpecialistGainDisplay, TaskStructureDisplay

train = make_digit_sequences(600, n_timesteps=12, subset="train", random_state=0)
test = make_digit_sequences(600, n_timesteps=12, subset="test", random_state=0)
y_train = pd.DataFrame(train.y, columns=train.task_kinds)

# %%
# Fit
# ---
#
# Principal components are the generalist representation. The pipeline estimates the steps and the
# latents of each task, and compares predictions from these with predictions from the whole
# representation on held-out sequences.

pipeline = SpecialistPipeline(
    generalist=PCA(10),
    encoder=SparseSpecialistEncoder(heads="linear", max_epochs=30),
    random_state=0,
).fit(train.X, y_train)

pd.DataFrame(
    {
        "predicted from": pipeline.predicted_from_,
        "gain": pipeline.validation_gain_.round(3),
        "standard error": pipeline.validation_gain_se_.round(3),
        "features": pipeline.n_features_used_,
        "of": pipeline.n_generalist_features_,
        "fallback reason": pipeline.fallback_reason_,
    },
    index=train.task_kinds,
)

# %%
# The gains, with standard errors:

SpecialistGainDisplay.from_estimator(pipeline)

# %%
# Comparison with the generalist
# ------------------------------
#
# Mean R2 over tasks, compared with the same estimators on all principal components.

generalist = SpecialistPipeline(generalist=PCA(10), strategy="generalist", random_state=0)
generalist.fit(train.X, y_train)
pd.Series(
    {
        "generalist": generalist.score(test.X, test.y),
        "pipeline": pipeline.score(test.X, test.y),
    },
    name="R2",
).round(3).to_frame()

# %%
# Estimated steps
# ---------------

TaskStructureDisplay.from_estimator(pipeline.structure_, true_step_tasks=train.step_weights)

# %%
# The steps of one task in four sequences:

SequenceDisplay(
    test.X[:4], pipeline.structure_.step_mask_, task_names=train.task_kinds, image_shape=(8, 8)
).plot(task="largest")
