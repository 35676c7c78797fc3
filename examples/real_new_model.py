"""
Another sentence model below a fitted pipeline
==============================================

A pipeline was fitted to sentences that a transformer embedded. The transformer is replaced by a
table of word vectors, which is smaller and faster. Sentences that both models embedded are enough
to go on without new labels, and without another fit of the pipeline.

The vectors are those of WordLlama, ``pip install wordllama`` (MIT), and the sentences are part of
the source archive of vaderSentiment. Neither belongs to this package, so that the script is not run
when the documentation is built.
"""

# %%
# Cases of 12 sentences, embedded by the transformer, and a pipeline that is fitted to them.

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import pairwise_distances, r2_score
from sklearn.pipeline import make_pipeline
from tokenizers import Tokenizer

from skspecialist import SpaceAligner, SpecialistPipeline
from skspecialist.datasets import load_text_cases

# The folder of vaderSentiment-3.3.2.tar.gz, additional_resources/hutto_ICWSM_2014.tar.gz
FOLDER = Path("hutto_ICWSM_2014")

train, test = (load_text_cases(subset=half, as_frame=True) for half in ("train", "test"))
pipeline = SpecialistPipeline(random_state=0).fit(train.data, train.target)

# %%
# The same sentences by the new model, the mean vector of their tokens.

names = ("tweets", "nytEditorialSnippets", "movieReviewSnippets", "amazonReviewSnippets")
texts = []
for name in names:
    lines = (FOLDER / f"{name}_GroundTruth.txt").read_text("utf-8", errors="replace").split("\n")
    texts += [line.split("\t", 2)[2].strip() for line in lines if line.strip()]
package = Path(find_spec("wordllama").submodule_search_locations[0])
(table,) = load_file(next((package / "weights").glob("*.safetensors"))).values()
tokenizer = Tokenizer.from_file(str(next((package / "tokenizers").glob("*.json"))))
tokens = tokenizer.encode_batch(texts, add_special_tokens=False)
vectors = np.array([table[text.ids or [0]].mean(axis=0) for text in tokens], dtype=float)
new_train, new_test = vectors[train.snippets], vectors[test.snippets]

# %%
# Maps onto the old space, from the sentences of the training cases. Labels are not used. An aligner
# is a transformer with a target, so that one of curved features is a pipeline with kernels.


def flat(sequences):
    """Return one row per sentence."""
    return np.asarray(sequences, dtype=float).reshape(-1, sequences.shape[-1])


width = np.median(pairwise_distances(flat(new_train)[:300]) ** 2)
kernels = Nystroem(gamma=1 / width, n_components=300, random_state=0)
curved = make_pipeline(kernels, SpaceAligner("affine"))
aligners = {"affine": SpaceAligner("affine"), "curved": curved}
states = {"old": test.data}
for name, aligner in aligners.items():
    mapped = aligner.fit(flat(new_train), flat(train.data)).transform(flat(new_test))
    states[name] = mapped.reshape(test.data.shape)

# %%
# R2 of the amounts, and accuracy of the labels. The new model does not contain all that the old one
# does: ``benchmarks/spaces.py`` compares the aligned states with a pipeline that is fitted to the
# new states and all labels.

scores = pd.DataFrame(index=list(states))
for name, data in states.items():
    predictions = pd.DataFrame(np.asarray(pipeline.predict(data)), columns=test.target.columns)
    for task, truth in test.target.items():
        found = predictions[task].to_numpy()
        is_amount = truth.dtype.kind == "f"
        scores.loc[name, task] = (
            r2_score(truth, found.astype(float)) if is_amount else np.mean(found == truth)
        )
print(scores.round(3))
