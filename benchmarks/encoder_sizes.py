"""Number of latents that the encoder keeps, tasks that it loses, and linear heads under noise.

Three parts. *Sizes*: 1,000 rows of ``make_specialist_latents``, with amounts and with two classes
per task, and of two other generators: tanh features of two of three latents per task, in 6 or 64
columns, and quadratic functions of two latents, of which the columns are a linear mixture.
*Linear heads*: 24 tasks of two or three of five latents in mixed coordinates; draws in which a
latent correlates with none found above .9. *Sentences*: the text cases with their true steps, two
thirds of the test half for learning. A task is worse than by a linear model of the mean of its
sentences if it loses a tenth of what that explains and a standard error, and lost at a half. Run
``python benchmarks/encoder_sizes.py``; takes some minutes.
"""

import time
import warnings

import numpy as np
import torch
from report import Report, command_line
from scipy.stats import sem
from sklearn.dummy import DummyClassifier, DummyRegressor

from skspecialist.__main__ import linear_model
from skspecialist.datasets import load_text_cases, make_specialist_latents
from skspecialist.encoder import SparseSpecialistEncoder, sparse_rotation
from skspecialist.metrics import block_r2, mean_correlation_coefficient

N_TRAIN, N_TEST, MAX_EPOCHS = 1000, 2000, None
FIRST_SEED = 400
OTHERS = ("tanh", "tanh, 64", "quadratic")  # generators that are not the library's
COLUMNS = {16: 20, 32: 5, 48: 5}  # number of columns of the sentences, and of draws
ROWS, NOISES = (500, 1000, 5000), (0.1, 0.5, 1.0, 2.0)


def draw(kind, seed):
    """Return features, tasks, latents, and which are relevant."""
    n = N_TRAIN + N_TEST
    if kind not in OTHERS:
        sizes = (10, 5, 10) if kind == "amounts, 5 of 10" else (6, 3, 4)
        data = make_specialist_latents(n, *sizes, random_state=seed)
        y = (data.y > np.median(data.y, axis=0)).astype(int) if "labels" in kind else data.y
        return data.X, y, data.latents, data.relevant
    rng, n_columns = np.random.default_rng(seed), 64 if "64" in kind else 6
    latents = rng.normal(size=(n, 6))
    mixing = rng.normal(size=(6, n_columns)) / 6**0.5
    if kind == "quadratic":
        X = latents @ mixing
    else:
        X = np.tanh(latents @ mixing) @ rng.normal(size=(n_columns, n_columns)) / n_columns**0.5
    y = []
    for pair in [(0, 1), (0, 2), (1, 2)] * 2:
        used = latents[:, pair]
        if kind == "quadratic":
            slopes, form = rng.normal(size=2), rng.normal(size=(2, 2))
            values = used @ slopes + np.einsum("ni,ij,nj->n", used, form, used)
        else:
            hidden = np.tanh(used @ rng.normal(size=(2, 8)) + rng.normal(size=8))
            values = hidden @ rng.normal(size=8)
        y.append((values - values.mean()) / values.std() + 0.05 * rng.normal(size=n))
    return X, np.column_stack(y), latents, np.arange(6) < 3


def sizes(report, n_seeds):
    """Add a table of the latents that are kept."""
    rows = []
    for kind in ("amounts, 3 of 6", "amounts, 5 of 10", "labels, 3 of 6", *OTHERS):
        kept, found = [], []
        for seed in range(FIRST_SEED, FIRST_SEED + n_seeds):
            X, y, latents, relevant = draw(kind, seed)
            start = time.process_time()
            encoder = SparseSpecialistEncoder(max_epochs=MAX_EPOCHS, random_state=seed)
            encoder.fit(X[:N_TRAIN], y[:N_TRAIN])
            seconds = time.process_time() - start
            r2 = block_r2(encoder.transform(X[N_TRAIN:]), latents[N_TRAIN:])
            kept.append(int(encoder.support_.sum()))
            found.append([r2[relevant].mean(), r2[~relevant].mean(), seconds])
        right = f"{sum(each == relevant.sum() for each in kept)} of {n_seeds}"
        rows.append([kind, right, *np.mean(found, axis=0).tolist()])
    header = ["tasks", "size right", "R2 relevant", "R2 irrelevant", "CPU s"]
    report.table(f"Number of latents, {N_TRAIN:,} rows", header, rows)


def rotate(n_samples, noise, seed):
    """Return the correlation of the worst latent, and whether a warning was given."""
    rng = np.random.default_rng(seed)
    sources = rng.normal(size=(n_samples, 5))
    used = rng.random((24, 5)).argsort(axis=1) < rng.integers(2, 4, (24, 1))
    weights = used * rng.uniform(0.5, 1.5, used.shape) * rng.choice([-1, 1], used.shape)
    y = sources @ weights.T + noise * rng.normal(size=(n_samples, 24))
    mixed = sources @ rng.normal(size=(5, 5))
    mixed = mixed / mixed.std(axis=0)
    mixed += 0.03 * rng.normal(size=mixed.shape)
    coefficients = np.linalg.lstsq(mixed, y, rcond=None)[0].T
    errors = (y - mixed @ coefficients.T).std(axis=0) / n_samples**0.5
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = sparse_rotation(coefficients, np.cov(mixed.T), noise=errors)
    matched = mean_correlation_coefficient(sources, mixed @ found.rotation)
    # A latent that no linear map can read from the noisy mixture is not counted.
    best = mixed @ np.linalg.lstsq(mixed, sources, rcond=None)[0]
    limit = min(mean_correlation_coefficient(sources, best).correlations)
    return min(matched.correlations) < min(0.9, limit - 0.01), bool(caught)


def rotations(report, n_seeds):
    """Add a table of lost latents by number of samples and noise."""
    rows = []
    for n_samples in ROWS:
        for noise in NOISES:
            seeds = range(FIRST_SEED, FIRST_SEED + n_seeds)
            lost, said = np.array([rotate(n_samples, noise, seed) for seed in seeds]).T
            counts = [lost.sum(), (lost & ~said).sum(), (said & ~lost).sum()]
            rows.append([n_samples, noise, *map(int, counts)])
    header = ["rows", "noise", "a latent below .9", "without a warning", "warning only"]
    report.table(f"Linear heads, {n_seeds} draws", header, rows)


def sentences(report):
    """Add a table of tasks that are lost, by number of columns."""
    cases, rows = load_text_cases(subset="test"), []
    used = [task for task, steps in enumerate(cases.step_weights.T) if steps.any()]
    weights, y = cases.step_weights[:, used].astype(float), cases.target[:, used]
    for n_columns, n_draws in COLUMNS.items():
        worse, lost, scores = 0, 0, []
        for seed in range(FIRST_SEED, FIRST_SEED + n_draws):
            order = np.random.default_rng(seed).permutation(len(y))[: 3 * N_TRAIN]
            learn, test = np.split(order, [2 * len(order) // 3])
            X = cases.data[:, :, :n_columns]
            encoder = SparseSpecialistEncoder(max_epochs=MAX_EPOCHS, random_state=seed)
            found = encoder.fit(X[learn], y[learn], weights).predict(X[test])
            for task, steps in enumerate(weights.T):
                means, values, true = X[:, steps > 0].mean(axis=1), y[learn, task], y[test, task]
                label = isinstance(values[0], str)
                peers = linear_model(label), DummyClassifier() if label else DummyRegressor()
                guesses = [p.fit(means[learn], values.tolist()).predict(means[test]) for p in peers]
                ours, peer, null = (errors(true, each) for each in (found[:, task], *guesses))
                without = null.mean()
                loss, explained = (ours - peer).mean(), without - peer.mean()
                worse += loss > max(float(sem(ours - peer)), 0.1 * explained)
                lost += loss > 0.5 * explained
                if task == 0:
                    scores.append(1 - ours.mean() / without)
        counts = [n_draws * len(used), int(worse), int(lost)]
        rows.append([n_columns, n_draws, *counts, float(np.mean(scores))])
    header = ["columns", "draws", "tasks", "worse", "lost", f"R2 of {cases.target_names[used[0]]}"]
    report.table("Sentences, true steps", header, rows)


def errors(true, found):
    """Return squared errors of amounts, and errors of labels."""
    if isinstance(true[0], str):
        return (true.astype(str) != np.asarray(found).astype(str)).astype(float)
    return (true.astype(float) - np.asarray(found).astype(float)) ** 2


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    options = parser.parse_args()
    if options.tiny:
        options.seeds, N_TRAIN, N_TEST, MAX_EPOCHS = 1, 60, 40, 1
        ROWS, NOISES, COLUMNS = (500,), (0.1,), {4: 1}
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    report = Report("encoder_sizes", "Sizes of the encoder, and linear heads", options.output)
    rotations(report, options.seeds)
    sizes(report, options.seeds)
    sentences(report)
    report.save()
