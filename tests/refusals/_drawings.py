"""Invalid input of the displays."""

import numpy as np
from scipy.sparse import csr_array

from tests.refusals._estimators import NAN, changed

SQUARE = np.eye(3)
WEIGHTS = {
    "None": None,
    "number": 1.0,
    "text": "mask",
    "vector": [1.0, 2.0],
    "empty": np.ones((0, 3)),
    "nan": changed(SQUARE, (1, 1), NAN),
    "words": np.full((3, 3), "word"),
    "complex": SQUARE + 1j,
    "three dimensions": np.ones((3, 3, 2)),
    "dict": {0: 1.0},
    "ragged": [[1.0], [1.0, 2.0]],
    "None inside": changed(SQUARE, (1, 1), None, object),
    "sparse": csr_array(SQUARE),
}
NAMES = [["a"], "ab", 3, ["a"] * 4, []]
