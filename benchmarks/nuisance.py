"""Benchmark of the removal of nuisances from specialists.

``python benchmarks/nuisance.py`` prints the tables and saves them. ``--speech FILE`` adds words, as
``examples/real_speech.py`` embeds and saves them.
"""

import time
import warnings
from pathlib import Path

import numpy as np
import torch
from report import Report, command_line
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline

N_TIMESTEPS, N_FEATURES = 4, 24
STEPS = np.array([[1, 0], [1, 1], [0, 1], [0, 0]])
STRENGTHS = np.logspace(-4, 4, 9)


def world(kind, seed, n_samples):
    """Return sequences, tasks and nuisance; the mixing depends on the seed alone."""
    fixed, rng = np.random.default_rng(seed), np.random.default_rng([seed, n_samples])
    mixing = fixed.normal(size=(8, N_FEATURES))
    shifts = fixed.normal(size=(5, N_FEATURES))
    latents = rng.normal(size=(n_samples, N_TIMESTEPS, 8))
    labels = rng.integers(5, size=n_samples)
    if kind == "correlated":
        labels = np.digitize(latents[:, 0, 0] + rng.normal(size=n_samples), [-1, 0, 1, 2])
    first = np.tanh(latents[..., :2]).sum(axis=2) @ STEPS[:, 0]
    second = (latents[..., 1] * latents[..., 2]) @ STEPS[:, 1]
    tasks = np.stack([first, second], axis=1)
    tasks = tasks / tasks.std(axis=0) + rng.normal(scale=0.3, size=tasks.shape)
    X = np.tanh(latents @ mixing / 4) + 0.1 * rng.normal(size=(n_samples, N_TIMESTEPS, N_FEATURES))
    if kind in ("linear", "correlated"):
        X[..., :8] += 0.5 * shifts[labels, None, :8]
    elif kind == "all columns":
        X += 3 * shifts[labels, None]
    elif kind == "curved":
        labels = rng.normal(size=n_samples)
        X += 0.3 * (labels**2 - 1)[:, None, None] * shifts[0]
        X += 0.1 * np.abs(labels)[:, None, None] * rng.normal(size=X.shape)
    nuisance = labels if kind == "curved" else np.array(list("abcde"))[labels]
    return X, tasks, nuisance


def probe(train, nuisance, test, truth):
    """Return test accuracy, or R2, of a linear model and of one with kernel functions."""
    classes = None if nuisance.dtype.kind == "f" else np.unique(nuisance)
    target = nuisance if classes is None else (nuisance[:, None] == classes).astype(float)
    scores = []
    kernel = Nystroem(gamma=0.5 / train.shape[1], n_components=300, random_state=0)
    for features in ("passthrough", make_union("passthrough", kernel)):
        model = make_pipeline(StandardScaler(), features, RidgeCV(STRENGTHS)).fit(train, target)
        predicted = model.predict(test)
        if classes is None:
            scores.append(r2_score(truth, predicted))
        else:
            scores.append(float(np.mean(classes[predicted.argmax(axis=1)] == truth)))
    return scores


def read(X, steps=None):
    """Return sequences as rows of their steps."""
    rows = (X if steps is None else X[:, steps]).reshape(len(X), -1)
    return rows if rows.shape[1] else np.zeros((len(X), 1))


def compare(train, test, fit, latents):
    """Return scores of tasks and nuisance without and with the removal, and CPU seconds."""
    (X, y, nuisance), (X_new, y_new, nuisance_new) = train, test
    results, predictions = [], []
    for given in (None, nuisance):
        start = time.process_time()
        model = fit(X, y, given)
        seconds = time.process_time() - start
        predictions.append(np.asarray(model.predict(X_new), dtype=float))
        found = probe(latents(model, X), nuisance, latents(model, X_new), nuisance_new)
        results.append(
            [*r2_score(y_new, predictions[-1], multioutput="raw_values"), *found, seconds]
        )
    return np.array(results), predictions


def encoder_scores(kind, seed, n_samples, n_epochs):
    """Return scores of the encoder in one world, shape (2, 5), and of the features, shape (2,)."""
    train, test = world(kind, seed, n_samples), world(kind, seed, 2000)

    def fit(X, y, nuisance):
        encoder = SparseSpecialistEncoder(max_epochs=n_epochs, random_state=seed)
        return encoder.fit(X, y, step_weights=STEPS, nuisance=nuisance)

    results, _ = compare(
        train, test, fit, lambda encoder, X: read(encoder.transform(X), STEPS.any(axis=1))
    )
    return results, probe(read(train[0]), train[2], read(test[0]), test[2])


def read_words(path):
    """Return the states of words, and the row of each voice, word and take."""
    words = np.load(path)
    states, (voices, spoken, takes) = words["states"], words["index"].T
    place = np.empty((voices.max() + 1, spoken.max() + 1, takes.max() + 1), dtype=int)
    place[voices, spoken, takes] = np.arange(len(states))
    return states, place


def speech(path, seed):
    """Return training and test sequences of words, each of one voice, in takes of its own."""
    states, place = read_words(path)
    rng = np.random.default_rng(seed)
    halves = []
    for n_sequences, half in ((1000, [0, 1, 2, 3]), (3000, [4, 5])):
        voice = rng.integers(len(place), size=n_sequences)
        word = rng.integers(place.shape[1], size=(n_sequences, 8))
        take = rng.choice(half, size=(n_sequences, 8))
        digits, commands = np.where(word < 10, word, 0), word >= 10
        total = digits[:, [1, 4, 6]].sum(axis=1) + rng.normal(size=n_sequences)
        command = commands[:, [2, 5]].sum(axis=1) + rng.normal(scale=0.3, size=n_sequences)
        names = np.array([f"voice {k}" for k in voice])
        halves.append(
            (states[place[voice[:, None], word, take]], np.stack([total, command], 1), names)
        )
    return halves


def specialist(pipeline, X):
    """Return the latents at the steps of the tasks, or the states there."""
    steps = pipeline.step_mask_.any(axis=1)
    erased = X if pipeline.nuisance_remover_ is None else pipeline.nuisance_remover_.transform(X)
    states = erased if pipeline.encoder_ is None else pipeline.encoder_.transform(erased)
    return read(states, steps)


def main():
    """Run everything."""
    parser = command_line(__doc__)
    parser.add_argument("--speech", type=Path, help="embeddings of words")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of tasks that share their latents
    torch.set_num_threads(1)
    report = Report("nuisance", "Nuisances in specialists", arguments.output)
    seeds, n_samples, n_epochs = ([100], 40, 1) if arguments.tiny else (range(200, 203), 1000, None)
    header = ["world", "nuisance=", "task 1", "task 2", "linear", "kernel", "CPU seconds"]
    rows = []
    for kind in ["linear", "curved", "correlated", "all columns", "absent"][
        : 1 if arguments.tiny else 5
    ]:
        cells = [encoder_scores(kind, seed, n_samples, n_epochs) for seed in seeds]
        features = np.mean([features for _, features in cells], axis=0)
        rows.append([kind, "(all features)", "", "", *features.tolist(), ""])
        means = np.mean([results for results, _ in cells], axis=0).tolist()
        rows += [[kind, name, *mean] for name, mean in zip(("no", "yes"), means, strict=True)]
    report.table(
        f"Encoder, {n_samples} sequences, mean of {len(seeds)} seeds: R2 of the tasks, and of the "
        "nuisance (accuracy of 5 labels; R2 of the curved amount) from the latents, by linear "
        "models and with kernel functions",
        header,
        rows,
    )
    if arguments.speech:
        rows = []
        for seed in (100, 101):
            train, test = speech(arguments.speech, seed)
            results, predictions = compare(
                train,
                test,
                lambda X, y, nuisance, seed=seed: SpecialistPipeline(random_state=seed).fit(
                    X, y, nuisance=nuisance
                ),
                specialist,
            )
            errors = [np.square(test[1] - predicted) for predicted in predictions]
            change = (errors[0] - errors[1]) / test[1].var(axis=0)
            standard = change.std(axis=0) / len(change) ** 0.5
            for name, result in zip(("no", "yes"), results.tolist(), strict=True):
                rows.append([f"seed {seed}", name, *result])
            gain = [
                f"{c:+.3f} +- {e:.3f}" for c, e in zip(change.mean(axis=0), standard, strict=True)
            ]
            rows.append([f"seed {seed}", "change", *gain, "", "", ""])
        report.table(
            "Speech, pipeline, 20 voices (chance .05): R2 of the tasks, and accuracy of the voice "
            "from the latents at the steps of the tasks",
            header,
            rows,
        )
    report.save()


if __name__ == "__main__":
    main()
