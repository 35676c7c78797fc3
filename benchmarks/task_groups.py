"""Groups of tasks that share latents, and transfer to a target of few labels.

``python benchmarks/task_groups.py`` plants families of tasks, compares the groups found with those
of peers that are given their number, and measures the gain of a target of 30 labels from each
family. Seeds were fixed beforehand.
"""

from functools import partial

import numpy as np
import pandas as pd
from report import Report, command_line
from sklearn.cluster import SpectralClustering
from sklearn.linear_model import RidgeCV
from sklearn.metrics import adjusted_rand_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skspecialist import SparseSpecialistEncoder, TaskGrouper
from skspecialist.datasets import load_text_cases

SEEDS = range(100, 110)
N_SAMPLES, N_LABELS, N_TEST = 500, 30, 1000
KINDS = ("linear", "tanh", "abs", "label")
PENALTIES = np.logspace(-2, 4, 13)
OPTIONS = {}  # of the encoders


def families(
    seed, n_families=3, n_tasks=6, n_latents=2, n_steps=1, noise=0.5, curved=True, idle=10
):
    """Return sequences, tasks, and the family of each task.

    Latents, of which each family has some and others are irrelevant, are mixed by a rotation
    and, if ``curved``, by a leaky rectifier and a matrix; then tasks are linear, saturated,
    absolute and binary functions in turn, otherwise linear ones.
    """
    rng = np.random.default_rng(seed)
    n, d = N_SAMPLES + N_TEST, n_families * n_latents + idle
    latents = rng.normal(size=(n, n_steps, d))
    tasks = []
    for family in range(n_families):
        for index in range(n_tasks):
            own = latents[:, rng.integers(n_steps), family * n_latents :][:, :n_latents]
            slopes = rng.normal(size=n_latents)
            tasks.append(
                function(KINDS[index % 4] if curved else "linear", own @ slopes, noise, rng)
            )
    X = latents @ np.linalg.qr(rng.normal(size=(d, d)))[0]
    if curved:
        X = np.where(X > 0, X, 0.5 * X) @ rng.normal(size=(d, d))
    return X, np.transpose(tasks), np.repeat(np.arange(n_families), n_tasks)


def function(kind, signal, noise, rng):
    """Return a task of variance one, noise included, or of labels 0 and 1."""
    signal = {"tanh": np.tanh(2 * signal), "abs": np.abs(signal)}.get(kind, signal)
    values = signal / signal.std() + noise * rng.normal(size=len(signal))
    return (values > 0).astype(float) if kind == "label" else values / values.std()


WORLDS = {
    "linear tasks": partial(families, curved=False),
    "curved tasks": families,
    "curved, more noise": partial(families, noise=1.0),
    "curved, four steps": partial(families, n_steps=4),
    "five families": partial(families, n_families=5),
    "two families of four": partial(families, n_families=2, n_tasks=4),
    "one family": partial(families, n_families=1, n_tasks=8),
    "no families": partial(families, n_families=8, n_tasks=1),
}


def cluster(affinity, n_groups):
    """Return groups by spectral clustering, whose number is given."""
    if n_groups in (1, len(affinity)):
        return np.arange(len(affinity)) % n_groups
    model = SpectralClustering(n_groups, affinity="precomputed", random_state=0)
    return model.fit_predict(np.abs(affinity) + 1e-9)


def cosines(X, y):
    """Return cosines of the weights of linear regressions, on standardized columns."""
    flat = X.reshape(len(X), -1)
    weights = RidgeCV(PENALTIES).fit(flat / flat.std(axis=0), y).coef_
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return weights @ weights.T


def group_table(report):
    """Add a table of the agreement of groups with families."""
    rows = []
    for name, world in WORLDS.items():
        scores = []
        for seed in SEEDS:
            X, y, truth = world(seed)
            X, y = X[:N_SAMPLES], y[:N_SAMPLES]
            grouper = TaskGrouper().fit(X, y)
            n_groups = truth.max() + 1
            scores.append(
                {
                    "found": adjusted_rand_score(truth, grouper.labels_),
                    "number": grouper.n_groups_ == n_groups,
                    "correlations": adjusted_rand_score(truth, cluster(np.corrcoef(y.T), n_groups)),
                    "cosines": adjusted_rand_score(truth, cluster(cosines(X, y), n_groups)),
                }
            )
        table = pd.DataFrame(scores)
        right = f"{table['number'].sum()} of {len(table)}"
        means = [float(table[c].mean()) for c in ("correlations", "cosines")]
        rows.append(
            [name, float(table["found"].mean()), float(table["found"].min()), right, *means]
        )
        print(rows[-1], flush=True)
    report.table(
        f"Adjusted Rand index of the groups, {N_SAMPLES} sequences, {len(SEEDS)} draws; peers are "
        "given the number of groups and cluster correlations of the tasks, or cosines of the "
        "weights of linear regressions",
        ["tasks", "mean", "least", "number right", "correlations", "cosines"],
        rows,
    )


def transfer(seed):
    """Return R2 of a target of few labels, from all features or latents of other tasks."""
    X, y, truth = families(seed, curved=False, idle=30)
    X, rest = X[:, 0], np.arange(1, len(truth))  # the first task is the target
    few, train, test = slice(None, N_LABELS), slice(None, N_SAMPLES), slice(N_SAMPLES, None)
    grouper = TaskGrouper().fit(X[train], y[train][:, rest])
    selected = grouper.select_sources(X[few], y[few, 0])
    # Names of the sources are those of columns of the others.
    chosen = [rest[int(name.removeprefix("task"))] for name in selected.sources]
    sources = {
        "its family": np.flatnonzero(truth == 0)[1:],
        "selected": chosen,
        "another family": np.flatnonzero(truth == 1),
        "all": rest,
    }
    scores, latents = {}, {"no source": X}
    for name, tasks in sources.items():
        same = [n for n in latents if n != "no source" and set(sources[n]) == set(tasks)]
        if not len(tasks):
            latents[name] = X
        elif same:
            latents[name] = latents[same[0]]
        else:
            encoder = SparseSpecialistEncoder(random_state=seed, **OPTIONS)
            latents[name] = encoder.fit(X[train], y[train][:, tasks]).transform(X)
    for name, features in latents.items():
        head = make_pipeline(StandardScaler(), RidgeCV(PENALTIES)).fit(features[few], y[few, 0])
        scores[name] = r2_score(y[test, 0], head.predict(features[test]))
    own, gains, errors = grouper.labels_[0], selected.gains, selected.standard_errors
    return scores | {
        "gain": gains[own] > errors[own],
        "losses": np.delete(gains < -errors, own).all(),
        "right": set(chosen) == set(sources["its family"]),
    }


def texts(report):
    """Add the groups of properties of the sentences of real cases, step by step."""
    cases = load_text_cases()
    rows = np.random.default_rng(0).permutation(cases.source.size)[:1000]
    X = cases.data.reshape(-1, cases.data.shape[2])[rows].astype(float)
    names = ["sentiment", "words", "question", "digit"]
    y = {name: cases[name].ravel()[rows].astype(float) for name in names}
    source = cases.source.ravel()[rows]
    y |= {str(name): (source == name).astype(float) for name in np.unique(source)}
    y = pd.DataFrame(y)
    grouper = TaskGrouper(task_types="amount").fit(X, y)
    report.table(
        "Properties of single sentences (load_text_cases)",
        ["task", "group", "R2"],
        [
            [name, int(label), float(score)]
            for name, label, score in zip(y, grouper.labels_, grouper.scores_, strict=True)
        ],
    )


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        SEEDS, N_SAMPLES, N_TEST = SEEDS[:1], 100, 50
        WORLDS = {"linear tasks": WORLDS["linear tasks"]}
        OPTIONS = {"n_components": 2, "n_relevant": 1, "input_noise": 0.1, "max_epochs": 1}
    report = Report("task_groups", "Groups of tasks, and sources of a target", options.output)
    group_table(report)
    draws = pd.DataFrame([transfer(seed) for seed in SEEDS[:6]])
    measured = ["no source", "its family", "selected", "another family", "all"]
    differences = draws[measured].sub(draws["no source"], axis=0)
    report.table(
        f"R2 of a target of {N_LABELS} labels on {N_TEST} other samples, means over {len(draws)} "
        f"draws: ridge regression on all features, or on the latents of an encoder of the sources "
        f"({N_SAMPLES} samples)",
        ["", *measured],
        [
            ["R2", *map(float, draws[measured].mean())],
            ["difference", *map(float, differences.mean())],
            ["its standard error", *map(float, differences.sem())],
        ],
    )
    report.line()
    report.line(
        f"select_sources: gain of its family above a standard error in {draws['gain'].sum()} of "
        f"{len(draws)} draws, loss of all others in {draws['losses'].sum()}, exactly its family "
        f"selected in {draws['right'].sum()}"
    )
    texts(report)
    report.save()
