"""
Monitoring of later batches
===========================

A pipeline is fitted to cases of text. Later batches are tested for changes of the snippets
at each step, and of their relations to the tasks. In the second half of the batches the third
snippet of each case is a sentence of a newspaper.
"""

# %%
# Data and pipeline
# -----------------

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, RidgeCV

from skspecialist import SpecialistPipeline
from skspecialist.datasets import load_text_cases

cases, later = load_text_cases(), load_text_cases(subset="test")
y = pd.DataFrame(cases.target, columns=cases.target_names).infer_objects()
y_later = pd.DataFrame(later.target, columns=later.target_names).infer_objects()

pipeline = SpecialistPipeline(
    estimator=(RidgeCV(np.logspace(-2, 3, 6)), LogisticRegression(max_iter=1000)),
    candidates=["generalist", "steps"],
    random_state=0,
).fit(cases.data, y)

# %%
# Monitor
# -------
#
# The reference has 387 cases that the pipeline was not fitted to. With ``anytime=True`` the
# probability of any false alarm is at most 5 % in all batches together.

X = later.data.copy()
news = cases.data[:, 2][cases.source[:, 2] == "newspaper"]
X[687:, 2] = news[np.random.default_rng(0).integers(len(news), size=300)]
monitor = pipeline.monitor(X[:387], y_later[:387], anytime=True)
reports = [
    monitor.test(X[start : start + 60], y_later[start : start + 60])
    for start in range(387, 987, 60)
]
print(reports[0])
print(reports[-1])

# %%
# P-values of the inputs at each step
# -----------------------------------

pvalues = np.array(
    [[row["pvalue"] for row in report.rows if row["kind"] == "inputs"] for report in reports]
)
figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
image = ax.imshow(-np.log10(pvalues.T[:12]), aspect="auto", cmap="viridis")
ax.set(xlabel="batch", ylabel="step", title="Changes of inputs")
figure.colorbar(image, label="-log10 of the p-value")
plt.show()
