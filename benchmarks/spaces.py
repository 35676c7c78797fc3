"""Spaces that two encoders of the same digits share: retrieval, and a head applied to both.

``python benchmarks/spaces.py`` prints the tables and saves them. The encoders of a pair are
trained on the same images from different initial weights; anchors and maps are from images that
they were trained on, and all scores are of others.

``--texts FOLDER`` adds a change of the sentence model below a pipeline that was fitted to the text
cases: from a transformer to a table of word vectors, which embeds the same texts, those of the
folder ``hutto_ICWSM_2014`` in the sdist of vaderSentiment 3.3.2. It needs the packages
``wordllama``, ``tokenizers`` and ``safetensors``.
"""

import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from report import Report, command_line
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.kernel_approximation import Nystroem
from sklearn.metrics import pairwise_distances, r2_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skspecialist import RelativeRepresentation, SpaceAligner, SpecialistPipeline
from skspecialist.datasets import load_text_cases
from skspecialist.metrics import intrinsic_dimension, spectral_entropy, stitching_score

N_TRAINING = 1000
N_ANCHORS = 200
SPACES = {
    "relative, cosine": lambda seed: RelativeRepresentation(N_ANCHORS, random_state=seed),
    "relative, cosine, farthest": lambda seed: RelativeRepresentation(
        N_ANCHORS, selection="farthest", random_state=seed
    ),
    "whitened, relative, cosine": lambda seed: RelativeRepresentation(N_ANCHORS, random_state=seed),
    "leading, whitened, cosine": lambda seed: RelativeRepresentation(N_TRAINING, random_state=seed),
    "relative, four invariances": lambda seed: RelativeRepresentation(
        N_ANCHORS,
        metric=["cosine", "euclidean", "manhattan", "chebyshev"],
        random_state=seed,
    ),
    "aligned, orthogonal": lambda seed: SpaceAligner(),
    "aligned, lambda": lambda seed: SpaceAligner("lambda"),
    "aligned, affine": lambda seed: SpaceAligner("affine"),
}
# Share of the variance in the principal components that are whitened first. Small ones differ
# between encoders, and count as much as others after it: .98 was found on encoders of other seeds.
WHITENED = {"whitened, relative, cosine": 0.999, "leading, whitened, cosine": 0.98}


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


def embed_words(folder, *halves):
    """Return the mean word vector of each snippet of text cases, 256 numbers."""
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    texts = []
    for name in ("tweets", "nytEditorialSnippets", "movieReviewSnippets", "amazonReviewSnippets"):
        content = (folder / f"{name}_GroundTruth.txt").read_text("utf-8", errors="replace")
        texts += [line.split("\t", 2)[2] for line in content.split("\n") if line.strip()]
    package = Path(find_spec("wordllama").submodule_search_locations[0])
    (table,) = load_file(next((package / "weights").glob("*.safetensors"))).values()
    tokenizer = Tokenizer.from_file(str(next((package / "tokenizers").glob("*.json"))))
    encoded = tokenizer.encode_batch([text.strip() for text in texts], add_special_tokens=False)
    states = np.array([table[text.ids or [0]].mean(axis=0) for text in encoded], dtype=float)
    return [states[half.snippets] for half in halves]


def gains(pipeline, X, targets):
    """Return R2 of numbers, and the accuracy of labels above that of the most frequent one."""
    predictions = np.asarray(pipeline.predict(X))  # a table where there are amounts and labels
    found = {}
    for j, (name, y) in enumerate(targets.items()):
        if y.dtype.kind == "f":
            found[name] = r2_score(y, predictions[:, j].astype(float))
        else:
            found[name] = np.mean(predictions[:, j] == y) - np.mean(y == y.mode()[0])
    return found


def change_of_model(folder):
    """Return rows of a table: gains of the old pipeline, a refitted one, and the aligned one."""
    train, test = (load_text_cases(subset=half, as_frame=True) for half in ("train", "test"))
    new_train, new_test = embed_words(folder, train, test)
    old_train, old_test = train.data.astype(float), test.data.astype(float)
    old = SpecialistPipeline(random_state=0).fit(old_train, train.target)
    # As many principal components as the old representation has.
    pca = PCA(old_train.shape[2]).fit(np.vstack(new_train))
    reduced = [np.array([pca.transform(case) for case in X]) for X in (new_train, new_test)]
    refitted = SpecialistPipeline(random_state=0).fit(reduced[0], train.target)
    columns = {
        "old": gains(old, old_test, test.target),
        "refitted": gains(refitted, reduced[1], test.target),
    }
    aligners = {name: SpaceAligner(name) for name in ("orthogonal", "lambda", "affine")}
    aligners["curved"] = curved_aligner(new_train.reshape(-1, new_train.shape[2]))
    for name, aligner in aligners.items():
        flat = [Z.reshape(-1, Z.shape[2]) for Z in (new_train, old_train, new_test)]
        mapped = aligner.fit(*flat[:2]).transform(flat[2]).reshape(old_test.shape)
        columns[name] = gains(old, mapped, test.target)
    rows = []
    for task in columns["old"]:
        found = [float(column[task]) for column in columns.values()]
        kept = [f"{found[-1] / best:.2f}" if found[0] > 0.01 else "" for best in found[1::-1]]
        rows.append([task, *found, *kept])
    return rows


def curved_aligner(steps):
    """Return an affine map of standardized steps and of Gaussian kernels with 300 of them.

    The columns of both parts have a sum of squares of about one per step.
    """
    scale = FunctionTransformer(lambda Z: Z / np.sqrt(Z.shape[1]))
    width = np.median(pairwise_distances(steps[:300]) ** 2)
    curves = Nystroem(gamma=1 / width, n_components=300, random_state=0)
    return make_pipeline(
        make_union(make_pipeline(StandardScaler(), scale), curves), SpaceAligner("affine")
    )


def share(space, new, old):
    """Return the test samples of both encoders in a space that they share."""
    train, test = slice(N_TRAINING), slice(N_TRAINING, None)
    if isinstance(space, SpaceAligner):
        return space.fit(new[train], old[train]).transform(new[test]), old[test]
    space.fit(old[train])
    old_test = space.transform(old[test])
    space.set_params(anchors=space.anchor_indices_, selection="random", random_state=None)
    return space.fit(new[train]).transform(new[test]), old_test


def retrieval(first, second):
    """Return how often a sample's nearest neighbor in the other space is itself, centered."""
    first, second = (Z - Z.mean(axis=0) for Z in (first, second))
    similarity = cosine_similarity(first, second)
    return float(np.mean(similarity.argmax(axis=1) == np.arange(len(first))))


def measure(space, seed, states, y):
    """Return retrieval, the stitched score, the loss, and seconds of two encoders' states."""
    old, new = states
    start = time.process_time()
    if space in WHITENED:
        whiten = PCA(WHITENED[space], whiten=True)
        old, new = (whiten.fit(Z[:N_TRAINING]).transform(Z) for Z in (old, new))
    found = retrieval(*share(SPACES[space](seed), new, old))
    splits = [(np.arange(N_TRAINING), np.arange(N_TRAINING, len(y)))]
    scores = stitching_score(new, old, y, aligner=SPACES[space](seed), cv=splits)
    return found, scores.score, scores.loss, time.process_time() - start


def main():
    """Run everything."""
    parser = command_line(__doc__)
    parser.add_argument("--texts", type=Path, help="folder of the texts")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is given
    X, y = load_digits(return_X_y=True)
    X = X / 16
    pairs = [(0, 1)] if arguments.tiny else [(0, 1), (2, 3), (4, 5)]
    epochs = 2 if arguments.tiny else 100
    report = Report("spaces", "Spaces that two encoders share", arguments.output)
    rows = []
    for kind in ("classifier", "autoencoder"):
        states = [[embed(kind, seed, X, y, epochs) for seed in pair] for pair in pairs]
        chance = np.mean([retrieval(new[N_TRAINING:], old[N_TRAINING:]) for old, new in states])
        rows.append([kind, "as they are", float(chance), "", "", ""])
        for space in list(SPACES)[: 1 if arguments.tiny else None]:
            found = [
                measure(space, pair[0], both, y) for pair, both in zip(pairs, states, strict=True)
            ]
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
    if arguments.texts:
        report.table(
            "Change of the sentence model, test cases: R2, or accuracy above the most frequent "
            "label, of the old pipeline, a refitted one, and the old one on aligned states",
            [
                *("task", "old", "refitted", "orthogonal", "lambda", "affine", "curved"),
                *("curved / refitted", "curved / old"),
            ],
            change_of_model(arguments.texts),
        )
    report.save()


if __name__ == "__main__":
    main()
