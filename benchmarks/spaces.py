"""Spaces that two encoders of the same digits share: retrieval, and a head applied to both.

``python benchmarks/spaces.py`` prints the tables and saves them. The encoders of a pair are
trained on the same images from different initial weights; anchors and maps are from images that
they were trained on, and all scores are of others.
"""

import time
import warnings

import numpy as np
from report import Report, command_line
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skspecialist import RelativeRepresentation, SpaceAligner
from skspecialist.metrics import intrinsic_dimension, spectral_entropy, stitching_score

N_TRAINING = 1000
N_ANCHORS = 200
SPACES = {
    "relative, cosine": lambda seed: RelativeRepresentation(N_ANCHORS, random_state=seed),
    "relative, cosine, farthest": lambda seed: RelativeRepresentation(
        N_ANCHORS, selection="farthest", random_state=seed
    ),
    "whitened, relative, cosine": lambda seed: RelativeRepresentation(N_ANCHORS, random_state=seed),
    "relative, four invariances": lambda seed: RelativeRepresentation(
        N_ANCHORS,
        metric=["cosine", "euclidean", "manhattan", "chebyshev"],
        random_state=seed,
    ),
    "aligned, orthogonal": lambda seed: SpaceAligner(),
    "aligned, affine": lambda seed: SpaceAligner("affine"),
}


def embed(kind, seed, X, y, epochs):
    """Return the hidden layer of a network trained on the first images, for all images."""
    options = {"max_iter": epochs, "random_state": seed, "learning_rate_init": 3e-3}
    if kind == "classifier":
        net = MLPClassifier((128, 32), **options).fit(X[:N_TRAINING], y[:N_TRAINING])
    else:
        net = MLPRegressor(hidden_layer_sizes=(128, 32, 128), **options).fit(
            X[:N_TRAINING], X[:N_TRAINING]
        )
    states = X
    for weights, bias in zip(net.coefs_[:2], net.intercepts_[:2], strict=True):
        states = np.maximum(states @ weights + bias, 0)
    return states


def share(space, new, old):
    """Return the test samples of both encoders in a space that they share."""
    train, test = slice(N_TRAINING), slice(N_TRAINING, None)
    if isinstance(space, SpaceAligner):
        return space.fit(new[train], old[train]).transform(new[test]), old[test]
    space.fit(old[train])
    old_test = space.transform(old[test])
    space.set_params(anchors=space.anchor_indices_)
    return space.fit(new[train]).transform(new[test]), old_test


def retrieval(first, second):
    """Return how often a sample's nearest neighbor in the other space is itself, centered."""
    mean = second.mean(axis=0)
    similarity = cosine_similarity(first - mean, second - mean)
    return float(np.mean(similarity.argmax(axis=1) == np.arange(len(first))))


def measure(kind, space, pair, data, epochs):
    """Return retrieval, the stitched score, the loss, and seconds without the encoders."""
    X, y = data
    old, new = (embed(kind, seed, X, y, epochs) for seed in pair)
    start = time.process_time()
    if space.startswith("whitened"):
        whiten = PCA(0.999, whiten=True)
        old, new = (whiten.fit(Z[:N_TRAINING]).transform(Z) for Z in (old, new))
    found = retrieval(*share(SPACES[space](pair[0]), new, old))
    splits = [(np.arange(N_TRAINING), np.arange(N_TRAINING, len(X)))]
    scores = stitching_score(new, old, y, aligner=SPACES[space](pair[0]), cv=splits)
    return found, scores.score, scores.loss, time.process_time() - start


def main():
    """Run everything."""
    arguments = command_line(__doc__).parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is given
    X, y = load_digits(return_X_y=True)
    X = X / 16
    pairs = [(0, 1)] if arguments.tiny else [(0, 1), (2, 3), (4, 5)]
    epochs = 2 if arguments.tiny else 100
    report = Report("spaces", "Spaces that two encoders share", arguments.output)
    rows = []
    for kind in ("classifier", "autoencoder"):
        raw = [[embed(kind, seed, X, y, epochs)[N_TRAINING:] for seed in pair] for pair in pairs]
        chance = np.mean([retrieval(second, first) for first, second in raw])
        rows.append([kind, "as they are", float(chance), "", "", ""])
        for space in list(SPACES)[: 1 if arguments.tiny else None]:
            found = [measure(kind, space, pair, (X, y), epochs) for pair in pairs]
            rows.append([kind, space, *np.mean(found, axis=0).tolist()])
    report.table(
        f"Digits, {len(pairs)} pairs, {len(X) - N_TRAINING} test images: retrieval of a sample "
        "between the encoders, accuracy of a head of the other encoder, and its loss",
        ["encoder", "space", "retrieval", "accuracy", "loss", "CPU seconds"],
        rows,
    )
    states = embed("autoencoder", 0, X, y, epochs)[: 200 if arguments.tiny else None]
    report.table(
        "Size of a representation",
        ["representation", "two_nn", "mle", "spectral entropy, bits"],
        [
            [
                name,
                intrinsic_dimension(Z),
                intrinsic_dimension(Z, method="mle"),
                spectral_entropy(Z, sigma=float(np.std(Z) * np.sqrt(Z.shape[1]) / 4)),
            ]
            for name, Z in (("digits", X[: len(states)]), ("autoencoder", states))
        ],
    )
    report.save()


if __name__ == "__main__":
    main()
