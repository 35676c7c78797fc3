"""
Sentences that decide a case
============================

Each case is a sequence of 12 sentences that people wrote, embedded by a language model. Four
outcomes of a case depend on some of the sentences, one on none. Which sentences are these, what in
them counts, and what decides a new case?
"""

# %%
# Data
# ----
#
# The training and the test cases consist of different sentences. The texts are not part of the
# package, only the embeddings: 48 numbers per sentence. ``make demo-live`` computes them from the
# texts, by a model that runs on a laptop.

import numpy as np
import pandas as pd
from sklearn.metrics import accuracy_score, r2_score

from skspecialist import SpecialistPipeline
from skspecialist.datasets import load_text_cases
from skspecialist.inspection import AttributionDisplay, TaskStructureDisplay

train, test = (load_text_cases(subset=half, as_frame=True) for half in ("train", "test"))
print(train.data.shape)
train.target.head()

# %%
# Fit
# ---
#
# No parameter needs to be set.

pipeline = SpecialistPipeline(random_state=0).fit(train.data, train.target)

# %%
# Steps of each outcome, compared with the ground truth. "lottery" is noise: no step is found.

TaskStructureDisplay.from_estimator(pipeline.structure_, true_step_tasks=train.step_weights)

# %%
# The evidence for each task:

pipeline.report()

# %%
# Decisions on new cases
# ----------------------
#
# R2 of numbers and accuracy of labels on the test cases. Predictions from all sentences, without
# the structure, are the ``generalist``.

generalist = SpecialistPipeline(strategy="generalist", random_state=0)
generalist.fit(train.data, train.target)


def scores(model):
    """Return R2 of numbers and accuracy of labels."""
    predictions = model.predict(test.data)
    return {
        name: r2_score(y, predictions[name])
        if y.dtype.kind == "f"
        else accuracy_score(y, predictions[name])
        for name, y in test.target.items()
    }


pd.DataFrame({"pipeline": scores(pipeline), "generalist": scores(generalist)}).T.round(3)

# %%
# Explanation of a case
# ---------------------
#
# Contributions of the sentences to the predictions for the case with the lowest predicted
# satisfaction. They add up to the difference from the predictions for the mean case. Sources and
# ratings of sentiment, which name the sentences here, were not used in the fit.

case = int(pipeline.predict(test.data)["satisfaction"].argmin())
names = [
    f"{step}: {source}, {sentiment:+.1f}"
    for step, (source, sentiment) in enumerate(
        zip(test.source[case], test.sentiment[case], strict=True)
    )
]
AttributionDisplay.from_estimator(pipeline, test.data[case : case + 1], part_names=names)

# %%
# What the tasks use of a sentence
# --------------------------------
#
# Correlation of the contribution of a sentence with its properties, in 60 test cases:
# "satisfaction" and "escalate" use its sentiment, "social" and "press" its source.

explanation = pipeline.explain(test.data[:60], n_permutations=1)
properties = {"sentiment": test.sentiment, "words": test.words}
properties |= {source: test.source == source for source in np.unique(test.source)}
table = {
    task: {
        name: np.corrcoef(parts[:, steps, -1].ravel(), values[:60, steps].ravel())[0, 1]
        for name, values in properties.items()
    }
    for task, parts, steps in zip(
        test.target_names, explanation.contributions, pipeline.step_mask_.T, strict=True
    )
    if steps.any()
}
pd.DataFrame(table).T.round(2)
