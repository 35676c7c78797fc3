"""Routing of samples between specialists of domains, against one pooled model.

``python benchmarks/routing.py`` fits routers, a pooled model, specialists that are given the
domains of the test samples, and peers, in worlds with and without domains. Seeds were fixed
beforehand.
"""

from functools import partial
from importlib.util import find_spec

import numpy as np
import pandas as pd
from report import Report, command_line
from scipy.special import softmax
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import accuracy_score, r2_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data

from skspecialist import SpecialistRouter
from skspecialist.datasets import load_text_cases

SEEDS = range(200, 210)
N_SAMPLES, N_TEST = 450, 1500
GATES = ("learned", "prototype")


# Worlds: a function of the seed to (X, y, domain) of training and test samples and, where it is
# known, the probability of each domain given the features of the test samples


def planted(seed, shift=2.0, relation="shifted", labels=False, sizes=(1, 1, 1), curved=False):
    """Return samples of three domains, ``shift`` apart, whose relations differ."""
    rng = np.random.default_rng(seed)
    means = rng.normal(size=(3, 10))
    means *= shift / np.linalg.norm(means, axis=1, keepdims=True) * np.sqrt(10 / 4)
    slopes = rng.normal(size=(3, 10)) / np.sqrt(10)
    if relation == "one":
        slopes[:] = slopes[0]
    shares = np.array(sizes) / np.sum(sizes)
    domain = rng.choice(3, p=shares, size=N_SAMPLES + N_TEST)
    X = means[domain] + rng.normal(size=(len(domain), 10))
    signal = ((X - means[domain]) * slopes[domain]).sum(axis=1)
    if relation == "one":
        signal = X @ slopes[0]
    if curved:
        signal = signal + np.abs(X[:, 0]) * (domain - 1)
    noisy = signal + 0.5 * rng.normal(size=len(domain))
    y = np.where(noisy > np.median(noisy), "high", "low") if labels else noisy
    if relation == "random domains":
        domain = rng.integers(3, size=len(domain))
    squares = ((X[N_SAMPLES:, None] - means) ** 2).sum(axis=2)
    return [*split(X, y, domain, N_SAMPLES), softmax(np.log(shares) - squares / 2, axis=1)]


def split(X, y, domain, n_train):
    """Return training and test samples with their domains."""
    parts = slice(None, n_train), slice(n_train, None)
    return [(X[part], y[part], domain[part].astype(str)) for part in parts]


def shuffled(seed, X, y, domain):
    """Return two thirds and one third of real samples."""
    order = np.random.default_rng(seed).permutation(len(X))
    return split(X[order], y[order], domain[order], 2 * len(X) // 3)


def digits(seed):
    """Return scanned digits, of which thirds are turned, or turned and inverted."""
    images, y = load_digits().images, load_digits().target
    domain = np.random.default_rng(seed + 1).integers(3, size=len(y))
    turned = np.rot90(images, axes=(1, 2))
    images = np.choose(domain[:, None, None], [images, turned, 16 - turned[:, ::-1]])
    return shuffled(seed, images.reshape(len(y), -1), y, domain)


def diabetes(seed):
    """Return patients, whose domain is their sex."""
    X, y = load_diabetes(return_X_y=True)
    return shuffled(seed, np.delete(X, 1, axis=1), y, (X[:, 1] > 0).astype(int))


def without(load):
    """Return a world of a data set whose domains are drawn at random."""

    def world(seed):
        X, y = load(return_X_y=True)
        return shuffled(seed, X, y, np.random.default_rng(seed + 1).integers(3, size=len(y)))

    return world


def texts(task):
    """Return a world of single sentences, whose domain is their source."""

    def world(seed):
        cases = load_text_cases()
        rows = np.random.default_rng(seed).permutation(cases.source.size)[:1500]
        values = cases[task].ravel()[rows]
        y = values.astype(float)
        if task == "words":
            y = np.where(values > np.median(values), "long", "short")
        X = cases.data.reshape(-1, cases.data.shape[2])[rows]
        return split(X.astype(float), y, cases.source.ravel()[rows], 750)

    return world


# Worlds by name, and whether relations are shifted between domains that can be separated.
WORLDS = {
    "amounts, near": (partial(planted, shift=1), True),
    "amounts": (planted, True),
    "amounts, far": (partial(planted, shift=4), True),
    "amounts, sizes 8:1:1": (partial(planted, sizes=(8, 1, 1)), True),
    "amounts, curved": (partial(planted, curved=True), True),
    "labels, near": (partial(planted, shift=1, labels=True), True),
    "labels": (partial(planted, labels=True), True),
    "labels, far": (partial(planted, shift=4, labels=True), True),
    "labels, sizes 8:1:1": (partial(planted, sizes=(8, 1, 1), labels=True), True),
    "amounts, same place": (partial(planted, shift=0), False),
    "labels, same place": (partial(planted, shift=0, labels=True), False),
    "amounts, one relation": (partial(planted, relation="one"), False),
    "labels, one relation": (partial(planted, relation="one", labels=True), False),
    "amounts, random domains": (partial(planted, relation="random domains"), False),
    "labels, random domains": (partial(planted, relation="random domains", labels=True), False),
    "digits, turned": (digits, True),
    "texts, sentiment": (texts("sentiment"), False),
    "texts, length": (texts("words"), False),
    "diabetes, sex": (diabetes, False),
    "diabetes": (without(load_diabetes), False),
    "wine": (without(load_wine), False),
    "breast cancer": (without(load_breast_cancer), False),
    "digits": (without(load_digits), False),
}


# Methods


def linear(y):
    """Return an estimator for amounts or labels."""
    if y.dtype.kind == "f":
        return make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 4, 13)))
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500))


def combine(models, weights, X):
    """Return the predictions of specialists that have weights for each sample."""
    if hasattr(models[0], "predict_proba"):
        scores = np.einsum("nk,knc->nc", weights, [m.predict_proba(X) for m in models])
        return models[0].classes_[scores.argmax(axis=1)]
    return (weights * np.transpose([m.predict(X) for m in models])).sum(axis=1)


def arrow(models, X):
    """Return the weights of Arrow, without samples: right singular vectors of the specialists."""
    white = models[0][0].transform(X)
    prototypes = [np.linalg.svd(np.atleast_2d(m[-1].coef_))[2][0] for m in models]
    return softmax(np.abs(white @ np.transpose(prototypes)), axis=1)


def scores_of(world, seed):
    """Return the score of each method, R2 or accuracy."""
    (X, y, domain), (X_test, y_test, domain_test), *posterior = world(seed)
    metric = r2_score if y.dtype.kind == "f" else accuracy_score
    names = np.unique(domain)
    models = [linear(y).fit(X[domain == d], y[domain == d]) for d in names]
    predicted = {
        "pooled": linear(y).fit(X, y).predict(X_test),
        "given": combine(models, domain_test[:, None] == names, X_test),
        "arrow": combine(models, arrow(models, X_test), X_test),
    }
    if posterior:
        predicted["posterior"] = combine(models, posterior[0], X_test)
    for gate in GATES:
        router = SpecialistRouter(linear(y), gate=gate, random_state=seed)
        predicted[gate] = router.fit(X, y, domains=domain).predict(X_test)
    if metric is accuracy_score and find_spec("deslib"):
        predicted["KNORA-U"] = knora(models, X, y).predict(X_test)
    return {name: metric(y_test, values) for name, values in predicted.items()}


def knora(pool, X, y):
    """Return dynamic selection among fitted specialists by neighbors (deslib)."""
    from deslib.des import KNORAU

    # deslib 0.3.7 calls a method that scikit-learn has made a function.
    KNORAU._validate_data = validate_data
    return KNORAU(pool_classifiers=pool, random_state=0).fit(X, y)


def unknown_table(report):
    """Add the shares of samples of known and of unknown domains that the pooled model predicts."""
    rows = []
    for gate in GATES:
        shares = []
        for seed in SEEDS:
            (X, y, domain), (X_test, _, domain_test), _ = planted(seed, shift=4)
            known = domain != "2"
            router = SpecialistRouter(linear(y), gate=gate, random_state=seed)
            router.fit(X[known], y[known], domains=domain[known])
            fallback = ~router.gate_weights(X_test).any(axis=1)
            new = domain_test == "2"
            shares.append((fallback[~new].mean(), fallback[new].mean()))
        rows.append([gate, *map(float, np.mean(shares, axis=0))])
    report.table(
        "Share of samples sent to the pooled model, alpha = 0.01; a third domain is unknown",
        ["gate", "known domains", "unknown domain"],
        rows,
    )


if __name__ == "__main__":
    options = command_line(__doc__).parse_args()
    if options.tiny:
        SEEDS, N_SAMPLES, N_TEST = SEEDS[:1], 90, 60
        WORLDS = {name: WORLDS[name] for name in ("amounts", "labels")}
    report = Report("routing", "Routing between specialists of domains", options.output)
    names = ["pooled", "given", "posterior", *GATES, "arrow", "KNORA-U"]
    rows, kept, below = [], [], dict.fromkeys(GATES, 0)
    for world, (draw, is_shifted) in WORLDS.items():
        draws = pd.DataFrame([scores_of(draw, seed) for seed in SEEDS])
        gains = draws.sub(draws["pooled"], axis=0)
        means, errors = gains.mean(), gains.sem()
        for gate in GATES:
            below[gate] += means[gate] < -errors[gate]
        if is_shifted:
            shares = [
                [float(means[gate] / means[best]) if best in means else "" for gate in GATES]
                for best in ("given", "posterior")
            ]
            kept.append([world, *shares[0], *shares[1]])
        scores = [float(draws[name].mean()) if name in draws else "" for name in names]
        rows.append([world, *scores, float(means["learned"]), float(errors["learned"])])
        print(rows[-1], flush=True)
    report.table(
        f"R2 of amounts, accuracy of labels, means over {len(SEEDS)} draws; gain of the learned "
        "gate over the pooled model with its standard error",
        ["world", *names, "gain", "error"],
        rows,
    )
    report.line()
    report.line(
        f"Worlds, of {len(WORLDS)}, in which a gate is worse than the pooled model by more than a "
        f"standard error: {', '.join(f'{gate} {count}' for gate, count in below.items())}"
    )
    report.table(
        "Shifted relations: share of the gain of domains that are given in prediction, and of that "
        "of their probabilities given the features, which no gate can exceed",
        ["world", *GATES, *[f"{gate}, of posterior" for gate in GATES]],
        kept,
    )
    unknown_table(report)
    report.save()
