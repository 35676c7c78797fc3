"""Levels and power of the default structure tests, one row per world.

``python benchmarks/structure_levels.py`` measures the cells that ``results/structure_levels.csv``
lacks and prints the table; ``--fresh`` measures all of them again. ``--worlds "linear task;n=60"``
and ``--draws 20`` measure less. Draws below ``FIRST_DRAW`` are for development only. The
identifier has its defaults. Its peers get the same draws: the linear F test given all other steps
(the band where this is impossible), without groups, and the same of features transformed to
normal distributions; the group lasso; boosted trees, whose steps have a permutation importance
above two standard errors in held-out sequences; Gaussian knockoffs with lasso coefficients at a
false discovery rate of .2, since five steps or more must be found at that rate, and twenty at
.05; and the PC algorithm of causal-learn. Brackets are 95 % intervals: Wilson's of the shares of
steps and tasks, and normal ones of the mean false discovery proportion. The last table has the
shares of the draws in which each diagnostic of ``check_assumptions`` rejects at its default level
of .01.
"""

import time
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
from report import Report, command_line
from scipy.stats import binomtest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LassoCV
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import QuantileTransformer, StandardScaler
from store import Store
from structure_worlds import VIOLATIONS, WORLDS

from skspecialist import TaskStructureIdentifier
from skspecialist.baselines import GroupLassoBaseline
from skspecialist.structure import check_assumptions

SEED, FIRST_DRAW = 2026_11_27, 1000
FIELDS = (
    *("method", "world", "runs", "steps", "found", "tasks", "false", "false_se"),
    *("null_tasks", "empty", "seconds"),
)
DIAGNOSTICS = (
    *("curvature", "measurement error", "smoothing", "moving variance"),
    *("heavy tails", "drift", "trait", "repeated items"),
)


def default(world):
    return TaskStructureIdentifier().fit(world.X, world.y, world.groups).structure_


def strong(world):
    identifier = TaskStructureIdentifier(min_effect_size=0.1)
    return identifier.fit(world.X, world.y, world.groups).structure_


def f_test(world):
    identifier = TaskStructureIdentifier(independence_test="wilks", conditioning="all")
    try:
        return identifier.fit(world.X, world.y).structure_
    except ValueError:
        return identifier.set_params(conditioning="auto").fit(world.X, world.y).structure_


def f_test_of_quantiles(world):
    """The F test after each column was transformed to a normal distribution."""
    flat = world.X.reshape(len(world.X), -1)
    normal = QuantileTransformer(output_distribution="normal", n_quantiles=len(flat))
    return f_test(replace(world, X=normal.fit_transform(flat).reshape(world.X.shape)))


def group_lasso(world):
    return GroupLassoBaseline(segment_length=1).fit(world.X, world.y).structure_


def boosted_trees(world):
    n, n_timesteps, n_features = world.X.shape
    found = np.zeros(world.structure.shape, dtype=bool)
    integers = world.y.dtype.kind == "i"
    model = HistGradientBoostingClassifier if integers else HistGradientBoostingRegressor
    for task, y in enumerate(world.y.T):
        split = train_test_split(world.X.reshape(n, -1), y, random_state=0)
        X, X_test, y, y_test = split
        fitted = model(max_iter=50, random_state=0).fit(X, y)
        importance = permutation_importance(fitted, X_test, y_test, n_repeats=5, random_state=0)
        values = importance.importances.reshape(n_timesteps, n_features, -1).sum(axis=1)
        error = values.std(axis=1, ddof=1) / values.shape[1] ** 0.5
        found[:, task] = values.mean(axis=1) > 2 * error
    return found


def knockoffs(world):
    """Model-X knockoffs (Candes and others, JRSS B 2018), equicorrelated, of normal columns."""
    n, n_timesteps, n_features = world.X.shape
    X = StandardScaler().fit_transform(world.X.reshape(n, -1))
    correlation, identity = np.corrcoef(X.T), np.eye(X.shape[1])
    s = 0.99 * min(1.0, 2 * np.linalg.eigvalsh(correlation)[0])
    shrunk = s * np.linalg.inv(correlation)
    root = np.linalg.cholesky(2 * s * identity - s * shrunk)
    noise = np.random.default_rng(0).normal(size=X.shape)
    both = np.column_stack([X, X - X @ shrunk + noise @ root.T])
    found = np.zeros(world.structure.shape, dtype=bool)
    for task, y in enumerate(world.y.T):
        size = np.abs(LassoCV(cv=5).fit(both, y).coef_).reshape(2, n_timesteps, n_features)
        gain = np.subtract(*size.sum(axis=2))
        for threshold in np.sort(np.abs(gain[gain != 0])):
            if 1 + (gain <= -threshold).sum() <= 0.2 * (gain >= threshold).sum():
                found[:, task] = gain >= threshold
                break
    return found


def pc(world):
    """Steps with an edge to a task in the skeleton of the PC algorithm, by Fisher's z."""
    from causallearn.search.ConstraintBased.PC import pc as search

    n, n_timesteps, n_features = world.X.shape
    data = np.column_stack([world.X.reshape(n, -1), world.y])
    edges = search(data, alpha=0.05, indep_test="fisherz", show_progress=False).G.graph != 0
    n_columns = n_timesteps * n_features
    return edges[:n_columns, n_columns:].reshape(n_timesteps, n_features, -1).any(axis=1)


SOME = ("linear task", "abs task", "states relu, n=2000")
VIEWED = [f"states {view}, n=2000" for view in ("exp", "tanh", "cube", "mixed by a network")]
LOSSY = ["states relu, n=2000", "states sign, n=2000", "states with error, n=2000"]
# Methods, their worlds (None is all) and the share of the draws that they get.
METHODS = {
    "default": (default, None, 1.0),
    "default, effects of at least 0.1": (strong, [*LOSSY, *SOME[:2], "lag 2"], 1.0),
    "linear F test": (f_test, [name for name in WORLDS if "columns" not in name], 1.0),
    "linear F test of normal quantiles": (f_test_of_quantiles, VIEWED, 1.0),
    "group lasso": (group_lasso, SOME, 0.25),
    "boosted trees": (boosted_trees, SOME, 0.1),
    "knockoffs": (knockoffs, SOME, 0.25),
    "PC": (pc, SOME[:2], 0.1),
}


def measure(method, name, draws):
    """Return a row of the store: counts of steps and tasks over all draws."""
    find, _, share = METHODS[method]
    runs = max(int(share * draws), 1)
    steps = found = null_tasks = empty = 0
    proportions, seconds = [], 0.0
    for draw in range(FIRST_DRAW, FIRST_DRAW + runs):
        world = WORLDS[name](np.random.default_rng([SEED, list(WORLDS).index(name), draw]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            start = time.perf_counter()
            structure = find(world)
            seconds += time.perf_counter() - start
        true = world.structure
        steps += true.sum()
        found += (true & structure).sum()
        null = ~true.any(axis=0)
        null_tasks += null.sum()
        empty += (~structure[:, null].any(axis=0)).sum()
        false = (structure & ~true).sum(axis=0) / np.maximum(structure.sum(axis=0), 1)
        proportions.append(false[~null].mean() if not null.all() else np.nan)
    error = np.std(proportions, ddof=1) / runs**0.5 if runs > 1 else np.nan
    row = (runs, steps, found, (~null).sum() * runs, np.mean(proportions), error)
    row = (method, name, *row, null_tasks, empty, seconds / runs)
    return dict(zip(FIELDS, row, strict=True))


def diagnose(name, draws):
    """Return a row of the store: the number of draws in which each diagnostic rejects."""
    worlds = WORLDS | VIOLATIONS
    counts = np.zeros(len(DIAGNOSTICS), dtype=int)
    for draw in range(FIRST_DRAW, FIRST_DRAW + draws):
        world = worlds[name](np.random.default_rng([SEED, list(worlds).index(name), draw]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            table = check_assumptions(world.X, world.y, world.groups).set_index("name")
        counts += (table.loc[list(DIAGNOSTICS), "verdict"] == "violated").to_numpy()
    return {"world": name, "runs": draws, **dict(zip(DIAGNOSTICS, counts.tolist(), strict=True))}


def share(count, total):
    """Return a share with its 95 % interval."""
    if not total:
        return ""
    low, high = binomtest(int(count), int(total)).proportion_ci(method="wilson")
    return f"{count / total:.2f} [{low:.2f}, {high:.2f}]"


def tabulate(report, measured, method):
    rows = []
    cells = measured[measured["method"] == method].set_index("world")
    for name in WORLDS:
        if name not in cells.index:
            continue
        cell = cells.loc[name]
        false = f"{cell['false']:.3f} ± {1.96 * cell['false_se']:.3f}" if cell["tasks"] else ""
        shares = [share(cell["found"], cell["steps"]), false]
        shares.append(share(cell["empty"], cell["null_tasks"]))
        rows.append([name, cell["runs"], *shares, f"{cell['seconds']:.2f}"])
    if rows:
        report.table(method, ["world", "draws", "found", "false", "null empty", "s/fit"], rows)


if __name__ == "__main__":
    parser = command_line(__doc__, stored=True)
    parser.add_argument("--worlds", default=";".join(WORLDS), help="names, by semicolon")
    parser.add_argument("--methods", default=";".join(METHODS), help="names, by semicolon")
    parser.add_argument("--draws", type=int, default=200)
    options = parser.parse_args()
    if options.tiny:
        options.worlds, options.methods = "n=60;one volatility", "default;linear F test"
        options.draws, options.workers = 2, 1
    store = Store(options.output / "structure_levels.csv", FIELDS, 2)
    if options.fresh:
        store.path.unlink(missing_ok=True)
    title = "True steps found, false among the found, null tasks without any; alpha 0.05"
    report = Report("structure_levels", title, options.output)
    cells = [
        (method, name)
        for method in options.methods.split(";")
        for name in options.worlds.split(";")
        if METHODS[method][1] is None or name in METHODS[method][1]
    ]
    measured = store.fill(partial(measure, draws=options.draws), cells, options.workers)
    for method in METHODS:
        tabulate(report, measured, method)
    store = Store(options.output / "structure_assumptions.csv", ("world", "runs", *DIAGNOSTICS), 1)
    if options.fresh:
        store.path.unlink(missing_ok=True)
    names = options.worlds.split(";")
    names += VIOLATIONS if len(names) == len(WORLDS) else ()
    cells = [(name,) for name in names]
    rejected = store.fill(partial(diagnose, draws=options.draws), cells, options.workers)
    rejected = rejected.set_index("world")
    rows = []
    for name in [*WORLDS, *VIOLATIONS]:
        if name in rejected.index:
            runs, *counts = rejected.loc[name]
            rows.append([name, runs, *(f"{count / runs:.2f}" for count in counts)])
    title = "Share of draws in which diagnostics of assumptions reject at 0.01"
    report.table(title, ["world", "draws", *DIAGNOSTICS], rows)
    report.save()
