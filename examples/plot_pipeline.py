"""
The whole way on sequences of digits
====================================

Each step of a sequence shows a handwritten digit. The tasks are functions of the digits shown
in some of the steps: their sum, how many are odd, how many are large, the largest. Which steps,
and which digits, nobody says: there are pixels, and the values of the tasks.
"""

# %%
# The data
# --------
#
# Training and test sequences share their structure but no image.

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
# Principal components stand for a generalist representation. The pipeline finds the steps of
# each task and the latents that it uses, and compares on sequences held out whether predicting
# from these alone is better than predicting from everything.

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
        "why not": pipeline.fallback_reason_,
    },
    index=train.task_kinds,
)

# %%
# The gains as a picture:

SpecialistGainDisplay.from_estimator(pipeline)

# %%
# Is it better?
# -------------
#
# The same estimators on all of the principal components, for comparison: mean R2 over tasks.

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
# The steps found
# ---------------

TaskStructureDisplay.from_estimator(pipeline.structure_, true_step_tasks=train.step_weights)

# %%
# And the same in the sequences themselves, for one task:

SequenceDisplay(
    test.X[:4], pipeline.structure_.step_mask_, task_names=train.task_kinds, image_shape=(8, 8)
).plot(task="largest")
