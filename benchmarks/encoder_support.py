"""Recovery of the mask's entries by the encoder, and agreement of its fits.

Three parts. *Known latents*: 20 features, of which each of 8 tasks uses 3, 3,000 rows; the mask
chosen by cross-validation against Lasso, extra trees and LassoNet. *Linear heads*: 24 linear
tasks of mixed latents; recovery of the mask up to a permutation, and detection of latents that
always occur together. *Agreement*: fits to the same rows from different seeds.
Run ``python benchmarks/encoder_support.py``; takes about 40 minutes on one core. The first part is
kept in ``results/encoder_support.csv``; a further run adds the missing cells.
"""

import time
import warnings
from functools import partial
from itertools import product

import numpy as np
import torch
from report import Report, command_line
from sklearn.base import clone
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import LassoCV
from sklearn.metrics import r2_score
from sklearn.preprocessing import scale
from store import Store

from skspecialist.datasets import make_specialist_latents
from skspecialist.encoder import (
    SparseMultiTaskSelector,
    SparseMultiTaskSelectorCV,
    SparseSpecialistEncoderCV,
)
from skspecialist.metrics import (
    block_r2,
    consistency,
    mean_correlation_coefficient,
    support_scores,
)

N_TRAIN, N_TEST = 3000, 2000
N_LINEAR, N_LINEAR_TEST = 10_000, 2000  # rows of the other two parts
MAX_EPOCHS = None  # as by default
KNOWN = list(product(("smooth", "even"), (0.0, 0.6)))  # tasks, correlation of the features
FIELDS = ["tasks", "correlation", "seed", "method", "F1", "R2 - oracle's", "CPU s"]


def draw_known(seed, correlation, even):
    """Return features, tasks of three features, and the mask; ``even``: no linear part."""
    rng = np.random.RandomState(seed)
    n = N_TRAIN + N_TEST
    shared, own = rng.standard_normal((n, 1)), rng.standard_normal((n, 20))
    X = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own
    candidates, mask, y = rng.permutation(20)[:10], np.zeros((8, 20), dtype=bool), []
    for task in range(8):
        used = rng.choice(candidates, 3, replace=False)
        mask[task, used] = True
        Z = X[:, used]
        if even:
            values = Z[:, 0] * Z[:, 1] + (Z[:, 2] ** 2 - 1) / np.sqrt(2)
        else:
            hidden = np.tanh(Z @ rng.standard_normal((3, 16)) + rng.standard_normal(16))
            values = hidden @ rng.standard_normal(16) + Z @ rng.standard_normal(3)
        y.append(values / values.std() + 0.3 * rng.standard_normal(n))
    return X, np.column_stack(y), mask


def oracle(X, y, mask, seed):
    """Return a function that predicts with heads on the true support."""
    selector = SparseMultiTaskSelector(sparsity=0.0, max_epochs=MAX_EPOCHS, random_state=seed)
    heads = [clone(selector).fit(X[:, used], y[:, task]) for task, used in enumerate(mask)]
    return lambda X: np.column_stack(
        [head.predict(X[:, used]) for head, used in zip(heads, mask, strict=True)]
    )


def lasso(X, y, seed, *, one_standard_error):
    """One lasso per task, 5-fold: the least error, or the sparsest within one standard error."""
    support = []
    for task in y.T:
        model = LassoCV(cv=5, random_state=seed).fit(X, task)
        chosen = model.alpha_
        if one_standard_error:
            means = model.mse_path_.mean(axis=1)
            best = means.argmin()
            error = model.mse_path_[best].std(ddof=1) / np.sqrt(5)
            chosen = model.alphas_[means <= means[best] + error].max()
        support.append(np.abs(model.path(X, task, alphas=[chosen])[1][:, 0]) > 0)
    return np.array(support)


def extra_trees(X, y, seed):
    """Importances above their mean, 300 trees per task."""
    trees = ExtraTreesRegressor(300, n_jobs=1, random_state=seed)
    return np.array([SelectFromModel(trees).fit(X, task).get_support() for task in y.T])


def lassonet(X, y, seed):
    """One path per task, hidden layer 32, the sparsest within 10 % of the least error."""
    from lassonet import LassoNetRegressor

    support = []
    for task in scale(y).T:
        model = LassoNetRegressor(
            hidden_dims=(32,),
            path_multiplier=1.05,
            n_iters=(200, 50),
            verbose=0,
            random_state=seed,
            torch_seed=seed,
        )
        with torch.random.fork_rng():
            path = model.path(X, task[:, None])
        limit = 1.1 * min(step.val_loss for step in path)
        good = [step for step in path if step.val_loss <= limit]
        support.append(min(good, key=lambda step: step.selected.sum()).selected.numpy())
    return np.array(support)


BASELINES = {
    "Lasso, least error": partial(lasso, one_standard_error=False),
    "Lasso, one SE": partial(lasso, one_standard_error=True),
    "extra trees": extra_trees,
    "LassoNet": lassonet,
}


def one_known(seed, correlation, even, lassonet_seeds):
    """Yield the name, F1, R2 minus that of the true support, and seconds of every method."""
    X, y, mask = draw_known(seed, correlation, even)
    X_train, y_train, X_test, y_test = X[:N_TRAIN], y[:N_TRAIN], X[N_TRAIN:], y[N_TRAIN:]
    start = time.process_time()
    encoder = SparseMultiTaskSelectorCV(max_epochs=MAX_EPOCHS, random_state=seed)
    encoder.fit(X_train, y_train)
    seconds = time.process_time() - start
    best = r2_score(y_test, oracle(X_train, y_train, mask, seed)(X_test))
    lost = r2_score(y_test, encoder.predict(X_test)) - best
    yield "ours", support_scores(mask, encoder.mask_).f1, lost, seconds
    for name, method in BASELINES.items():
        if name != "LassoNet" or (seed in lassonet_seeds and not even):
            start = time.process_time()
            found = method(X_train, y_train, seed)
            yield name, support_scores(mask, found).f1, np.nan, time.process_time() - start


def known_latents(report, store, seeds, lassonet_seeds):
    """Add a table of the support of tasks by features, with every baseline."""
    data = [(*kind, seed) for kind, seed in product(KNOWN, seeds)]
    stored = set(store.load()[FIELDS[:3]].itertuples(index=False, name=None))
    for name, correlation, seed in data:
        if (name, correlation, seed) not in stored:
            found = one_known(seed, correlation, name == "even", lassonet_seeds)
            store.add(
                [
                    dict(zip(FIELDS, (name, correlation, seed, *values), strict=True))
                    for values in found
                ]
            )
    measured = store.load()
    groups = measured.groupby(["tasks", "correlation", "method"], sort=False)
    table = groups.agg(
        seeds=("seed", "count"),
        F1=("F1", "mean"),
        worst=("F1", "min"),
        lost=("R2 - oracle's", "mean"),
        seconds=("CPU s", "mean"),
    ).reset_index()
    report.table(
        f"Known latents: support of 8 tasks x 20 features, {N_TRAIN:,} rows; R2 is that on the "
        "found support minus that on the true one",
        ["tasks", "corr.", "", "seeds", "F1", "worst", "R2 lost", "CPU s"],
        table.fillna("").to_numpy().tolist(),
    )


def draw_linear(seed, doubled):
    """Return mixed latents, 24 tasks linear in them, the latents and the mask."""
    rng = np.random.RandomState(seed)
    data = make_specialist_latents(
        N_LINEAR + N_LINEAR_TEST,
        6,
        4,
        24,
        n_latents_per_task=2,
        random_state=rng.randint(2**31 - 1),
    )
    mask = data.mask.copy()
    if doubled:
        first, second = np.flatnonzero(data.relevant)[:2]
        mask[:, first] = mask[:, second] = mask[:, first] | mask[:, second]
    weights = mask * rng.uniform(0.5, 1.5, mask.shape) * rng.choice([-1, 1], mask.shape)
    y = data.latents @ weights.T
    y = y / y.std(axis=0) + 0.1 * rng.standard_normal(y.shape)
    return data.X, y, data.latents, mask


def linear_heads(report, seeds):
    """Add a table of masks and latents up to a permutation, and of inseparable latents."""
    rows = []
    for seed in seeds:
        for doubled in (False, True):
            X, y, latents, mask = draw_linear(seed, doubled)
            encoder = SparseSpecialistEncoderCV(
                heads="linear", max_epochs=MAX_EPOCHS, random_state=seed
            )
            encoder.fit(X[:N_LINEAR], y[:N_LINEAR])
            relevant = mask.any(axis=0)
            kept = encoder.mask_[:, encoder.support_] > 0
            f1 = ""
            if kept.shape[1] == relevant.sum():
                f1 = support_scores(mask[:, relevant], kept, match=True).f1
            score = 0.0
            if kept.shape[1]:
                held_out = encoder.transform(X[N_LINEAR:]), latents[N_LINEAR:, relevant]
                score = mean_correlation_coefficient(*held_out).score
            rows.append([seed, doubled, kept.shape[1], f1, score, encoder.inseparable_groups_])
            print(*rows[-1], flush=True)
    header = ["seed", "two always together", "kept of 4", "F1", "MCC", "inseparable groups"]
    report.table(
        f"Linear heads: 24 tasks of 2 of 4 relevant latents, {N_LINEAR:,} rows", header, rows
    )


def agreement(report, n_fits):
    """Add a table of the agreement of fits to the same rows from different seeds."""
    rows = []
    for sizes, count in (((6, 3, 4), n_fits), ((10, 5, 10), max(2, n_fits // 2))):
        data = make_specialist_latents(N_LINEAR + N_LINEAR_TEST, *sizes, random_state=0)
        views = [
            SparseSpecialistEncoderCV(max_epochs=MAX_EPOCHS, random_state=seed)
            .fit(data.X[:N_LINEAR], data.y[:N_LINEAR])
            .transform(data.X[N_LINEAR:])
            for seed in range(count)
        ]
        if not all(view.shape[1] for view in views):
            rows.append([sizes[0], sizes[1], count, *4 * ["no latents"]])
            continue
        linear = consistency(views).pairwise[~np.eye(count, dtype=bool)]
        any_map = [block_r2(views[i], views[i - 1]).mean() for i in range(count)]
        figures = [linear.mean(), linear.min(), np.mean(any_map), min(any_map)]
        rows.append([sizes[0], sizes[1], count, *map(float, figures)])
        print(*rows[-1], flush=True)
    header = ["latents", "relevant", "fits", "linear R2", "least", "kernel R2", "least"]
    report.table(f"Agreement of fits to {N_LINEAR:,} rows from different seeds", header, rows)


if __name__ == "__main__":
    parser = command_line(__doc__, stored=True)
    parser.add_argument("--seeds", type=int, default=5, help="number of seeds, from 0 on")
    parser.add_argument("--linear-seeds", type=int, default=5)
    parser.add_argument("--lassonet-seeds", type=int, default=1)
    parser.add_argument("--fits", type=int, default=10)
    options = parser.parse_args()
    if options.tiny:
        options.seeds = options.linear_seeds = 1
        options.lassonet_seeds, options.fits, MAX_EPOCHS = 0, 2, 1
        N_TRAIN, N_TEST, N_LINEAR, N_LINEAR_TEST = 60, 40, 60, 40
        KNOWN, BASELINES = KNOWN[:1], {}
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    store = Store(options.output / "encoder_support.csv", FIELDS, 4)
    if options.fresh:
        store.path.unlink(missing_ok=True)
    report = Report("encoder_support", "Support of each task, by the encoder", options.output)
    known_latents(report, store, range(options.seeds), range(options.lassonet_seeds))
    linear_heads(report, range(options.linear_seeds))
    agreement(report, options.fits)
    report.save()
