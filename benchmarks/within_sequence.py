"""Detection of steps of one sequence that share a task, without any labels.

``python benchmarks/within_sequence.py`` scores pairs of steps of held-out sequences that do not
align. A critic learns to distinguish two steps of one sequence from two of different ones: its
score estimates their pointwise mutual information. Beside it are similarities. *Conditional* is
given the step before: innovations, the residuals of a regression of each feature on itself one
step before, or ("all features") of all on all. Measures are means over sequences, of pairs at
least two steps apart, without the first step. Settings were chosen on other draws of the digits.
"""

from typing import NamedTuple

import numpy as np
import torch
from localizer_data import N_TIMESTEPS, SETS, WANTED, recordings, without_one
from report import Report, command_line
from scipy.special import logsumexp
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

SEEDS = range(3)
NOTHING = -1  # the task of a step that has none
N_TASK_STEPS = 6  # of a sequence, for each of the tasks that are in it
APART = 2  # steps, at least
N_COMPONENTS = 16
PAIRS_PER_ROOT, N_CANDIDATES, N_REFERENCES = 6400, 10, 20  # root of the number of sequences
UPDATES_PER_ROOT, HIDDEN, EMBEDDING, BATCH, LR = 25, 64, 8, 20, 0.003  # of the separable critic
# Hidden units, rows of a batch, highest learning rate, and clip of features, of the gated critic.
GATED_HIDDEN, GATED_BATCH, GATED_LR, CLIP = 32, 128, 0.01, 4.0
N_FIT, N_TEST = 2000, 60


class Unlabeled(NamedTuple):
    """Sequences to learn from, and others with the truth."""

    X: np.ndarray
    X_test: np.ndarray
    tasks_test: np.ndarray
    labels: np.ndarray | None = None  # the digits, for the ceiling only
    labels_test: np.ndarray | None = None


def digits(seed, sets, chained=0.0):
    """Return sequences of images in random order, other images in those to judge by.

    Each task is in half of the sequences, and puts digits of its set at random steps; all other
    steps are any digits. ``chained`` is the correlation of a pixel with that of the step before.
    """
    images, labels = load_digits(return_X_y=True)
    pools = train_test_split(np.arange(len(images)), test_size=0.3, random_state=0, stratify=labels)
    rng = np.random.default_rng(seed)
    parts = []
    for pool, n in zip(pools, (N_FIT, N_TEST), strict=True):
        drawn = rng.integers(10, size=(n, N_TIMESTEPS))
        tasks = np.full(drawn.shape, NOTHING)
        for row in range(n):
            places = rng.permutation(N_TIMESTEPS)
            for task in np.flatnonzero(rng.random(len(sets)) < 0.5):
                steps = places[task * N_TASK_STEPS : (task + 1) * N_TASK_STEPS]
                tasks[row, steps] = task
                drawn[row, steps] = rng.choice(sets[task], N_TASK_STEPS)
        X = np.empty((*drawn.shape, images.shape[1]))
        for digit in range(10):
            chosen = drawn == digit
            X[chosen] = images[rng.choice(pool[labels[pool] == digit], chosen.sum())]
        if chained:
            X -= images.mean(axis=0)
            for t in range(1, N_TIMESTEPS):
                X[:, t] = chained * X[:, t - 1] + np.sqrt(1 - chained**2) * X[:, t]
        parts.append((X, tasks, drawn))
    (X, _, drawn), (X_test, tasks_test, drawn_test) = parts
    return Unlabeled(X, X_test, tasks_test, drawn, drawn_test)


def views(data):
    """Return features of all steps but the first, of sequences to learn from and to judge by."""
    X = _learned(StandardScaler(), data.X, data.X_test)
    before, after = _rows(X[0][:, :-1]), _rows(X[0][:, 1:])
    slopes = (before * after).sum(axis=0) / np.maximum((before**2).sum(axis=0), 1e-9)
    regression = RidgeCV(np.logspace(-2, 5, 8)).fit(before, after)
    white = PCA(N_COMPONENTS, whiten=True, random_state=0)
    whitened = _learned(white, *X)

    def innovations(predict):
        left = [p[:, 1:] - predict(_rows(p[:, :-1])).reshape(p[:, 1:].shape) for p in X]
        return _learned(StandardScaler(), *left)

    return {
        "steps": [part[:, 1:] for part in X],
        "steps whitened": [part[:, 1:] for part in whitened],
        "innovations": innovations(slopes.__mul__),
        "innovations whitened": _learned(white, *innovations(slopes.__mul__)),
        "before": [part[:, :-1] for part in whitened],
        "all on all": _learned(white, *innovations(regression.predict)),
    }


def _rows(X):
    return X.reshape(-1, X.shape[-1])


def _learned(transformer, X, X_test):
    """Return both arrays, transformed step by step."""
    transformer.fit(_rows(X))
    return tuple(transformer.transform(_rows(p)).reshape(*p.shape[:2], -1) for p in (X, X_test))


def cosine(X):
    """Return cosine similarities of the steps of each sequence."""
    X = X / np.linalg.norm(X, axis=2, keepdims=True)
    return X @ X.swapaxes(1, 2)


def distance(X):
    """Return negative squared Euclidean distances of the steps of each sequence."""
    return -((X[:, :, None] - X[:, None]) ** 2).sum(axis=3)


def _two_layers(n_in, n_hidden, n_out):
    return nn.Sequential(nn.Linear(n_in, n_hidden), nn.SiLU(), nn.Linear(n_hidden, n_out))


class GatedCritic(nn.Module):
    """Scores x beside y by a weighted sum of products of their features, gated by z.

    The features are the columns, squares of those of x, and embeddings. Those of y are centered,
    so that a dependence of x on z alone cannot be learned. The critic of the test ``"cmi"`` of
    the library has the same form.
    """

    def __init__(self, n_x, n_y, n_z):
        super().__init__()
        self.embed_x = _two_layers(2 * n_x, GATED_HIDDEN, EMBEDDING)
        self.embed_y = _two_layers(n_y, GATED_HIDDEN, EMBEDDING)
        self.gates = _two_layers(n_z, GATED_HIDDEN, 2 * n_x + EMBEDDING)
        self.weights = nn.Parameter(torch.zeros(n_y + EMBEDDING, 2 * n_x + EMBEDDING))

    def forward(self, x, y, z):
        """Return scores (n, n_candidates) of ``x`` of shape (n, n_candidates, n_x)."""
        x = torch.cat([x, x**2 - 1], dim=2).clamp(-CLIP, CLIP)
        x = torch.cat([x, self.embed_x(x)], dim=2)
        y = y.clamp(-CLIP, CLIP)
        y = torch.cat([y, self.embed_y(y)], dim=1)
        direction = (y - y.mean(dim=0)) @ self.weights * (1 + self.gates(z))
        return (x @ direction[:, :, None])[..., 0]


def gated_critic(steps, before, seed):
    """Return log density ratios by a gated critic; ``before`` may be None."""
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    X, X_test = steps
    gates = [np.zeros((*part.shape[:2], 1)) for part in steps] if before is None else before
    pool = _rows(X)

    def candidates(X, gates, row, k, v, others):
        x = np.concatenate([X[row, k][:, None], others], axis=1)
        y = np.concatenate([X[row, v], (X[row, v] ** 2 - 1) / np.sqrt(2)], axis=1)
        z = np.concatenate([gates[row, k], gates[row, v]], axis=1)
        return [torch.tensor(part, dtype=torch.float32) for part in (x, y, z)]

    n = round(PAIRS_PER_ROOT * len(X) ** 0.5)
    k, v = rng.choice(np.argwhere(_apart(X.shape[1])), n).T
    others = pool[rng.integers(len(pool), size=(n, N_CANDIDATES - 1))]
    x, y, z = candidates(X, gates[0], rng.integers(len(X), size=n), k, v, others)
    critic = GatedCritic(x.shape[2], y.shape[1], z.shape[1])
    batches = torch.randperm(n).split(GATED_BATCH)
    optimizer = torch.optim.AdamW(critic.parameters(), GATED_LR)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, GATED_LR, total_steps=len(batches))
    for batch in batches:
        # InfoNCE: the sample's own candidate, the first, against the others.
        loss = F.cross_entropy(critic(x[batch], y[batch], z[batch]), torch.zeros_like(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    shape = *X_test.shape[:2], X_test.shape[1]
    row, k, v = (axis.ravel() for axis in np.indices(shape))
    others = pool[rng.integers(len(pool), size=(1, N_REFERENCES))].repeat(len(row), axis=0)
    with torch.no_grad():
        scores = critic(*candidates(X_test, gates[1], row, k, v, others)).double().numpy()
    found = (scores[:, 0] - logsumexp(scores[:, 1:], axis=1)).reshape(shape)
    return found + found.swapaxes(1, 2)


def separable_critic(steps, seed):
    """Return a weighted product of embeddings, learned by a logistic loss from all pairs."""
    torch.manual_seed(seed)
    X, X_test = (torch.tensor(part, dtype=torch.float32) for part in steps)
    layers = [nn.Linear(X.shape[2], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()]
    layers += [nn.Linear(HIDDEN, EMBEDDING), nn.BatchNorm1d(EMBEDDING, affine=False)]
    embed = nn.Sequential(*layers)
    weights, offset = nn.Parameter(torch.full((EMBEDDING,), 0.1)), nn.Parameter(torch.zeros(()))
    n_batches = len(X) // BATCH
    epochs = round(UPDATES_PER_ROOT * len(X) ** 0.5 / n_batches)
    optimizer = torch.optim.AdamW([*embed.parameters(), weights, offset], LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * n_batches)
    apart = torch.tensor(_apart(X.shape[1]), dtype=torch.float32)
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).tensor_split(n_batches):
            within = torch.block_diag(*[torch.ones_like(apart)] * len(batch))
            together, different = torch.block_diag(*[apart] * len(batch)), 1 - within
            together, different = together / together.sum(), different / different.sum()
            e = embed(X[batch].flatten(0, 1))
            logits = (e * weights) @ e.T + offset
            loss = (F.softplus(logits) * (together + different) - logits * together).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        e = embed.eval()(X_test.flatten(0, 1)).reshape(*X_test.shape[:2], -1)
        return ((e * weights) @ e.swapaxes(1, 2)).numpy()


def _apart(n_timesteps):
    return 1 - np.tri(n_timesteps, k=APART - 1) + np.tri(n_timesteps, k=-APART)


def oracle(data):
    """Return the pointwise mutual information of digits, by counts and but for a constant."""
    counts = np.eye(10)[data.labels].sum(axis=1)
    pairs = counts.T @ counts - np.diag(counts.sum(axis=0))
    table = np.log(pairs / np.outer(pairs.sum(axis=0), pairs.sum(axis=0)))
    return table[data.labels_test[:, 1:, None], data.labels_test[:, None, 1:]]


def methods(data, seed):
    """Yield names and scores of all pairs, (n_sequences, n_timesteps, n_timesteps)."""
    seen = views(data)
    steps, innovations = seen["steps whitened"], seen["innovations whitened"]
    yield "separable critic", separable_critic(steps, seed)
    yield "separable critic, conditional", separable_critic(innovations, seed)
    yield "separable critic, all features", separable_critic(seen.pop("all on all"), seed)
    yield "gated critic", gated_critic(steps, None, seed)
    yield "gated critic, conditional", gated_critic(innovations, seen.pop("before"), seed)
    for name, similarity in (("cosine", cosine), ("Euclidean", distance)):
        for of, (_, X_test) in seen.items():
            yield f"{name}, {of}", similarity(X_test)
    if data.labels is not None:
        yield "oracle (digits)", oracle(data)
    yield "chance", np.random.default_rng(seed).random(similarity(X_test).shape)


def judge(scores, tasks):
    """Return mean average precision and mean AUC of sequences that have both kinds of pairs."""
    found = []
    for score, task in zip(scores, tasks[:, 1:], strict=True):
        k, v = np.triu_indices(len(task), APART)
        truth = (task[k] == task[v]) & (task[k] != NOTHING)
        if truth.any() and not truth.all():
            pairs = truth, score[k, v]
            found.append((average_precision_score(*pairs), roc_auc_score(*pairs)))
    return np.mean(found, axis=0)


def table(report, title, draws):
    """Add a table of all methods; ``draws`` has the same number of data sets for each seed."""
    found = {}
    for seed, draw in zip(SEEDS, draws, strict=True):
        for data in draw:
            for name, scores in methods(data, seed):
                found.setdefault(name, []).append(judge(scores, data.tasks_test))
    rows = []
    for name, measured in found.items():
        each = np.reshape(measured, (len(SEEDS), -1, 2)).mean(axis=1)
        precisions = " ".join(f"{value:.3f}" for value in each[:, 0])
        rows.append([name, *map(float, each.mean(axis=0)), precisions])
    report.table(title, ["", "mean average precision", "mean AUC", "precision, each seed"], rows)


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        SEEDS, N_FIT, N_TEST, PAIRS_PER_ROOT, UPDATES_PER_ROOT = SEEDS[:1], 40, 8, 10, 1
    torch.set_num_threads(1)
    title = "Pairs of steps of a sequence that share a task, no labels"
    report = Report("within_sequence", title, options.output)
    table(report, "Digits, tasks of two or three digits", [[digits(seed, SETS)] for seed in SEEDS])
    if not options.tiny:
        draws = [[digits(seed, SETS, chained=0.9)] for seed in SEEDS]
        table(report, "The same, pixels chained with correlation 0.9", draws)
        draws = [[digits(seed, [[digit] for digit in WANTED])] for seed in SEEDS]
        table(report, "Digits, tasks of one digit", draws)
    if recordings() is not None and not options.tiny:
        folds = [
            Unlabeled(weak.X, weak.X_test, exercise[None])
            for weak, (_, exercise) in zip(map(without_one, range(6)), recordings(), strict=True)
        ]
        table(report, "Motion capture, one recording held out", [folds for _ in SEEDS])
    report.save()
