"""Benchmark of attributions to the columns of a representation.

``python benchmarks/attribution.py`` prints the table and saves it. Columns of a representation are
known mixtures of latents, some of which the tasks depend on. The peer is xCEBRA, regularized
contrastive learning with the pseudo-inverse of the Jacobian (Schneider, González Laiz, Filippova,
Frey and Mathis, AISTATS 2025), from cebra.
"""

import time
import warnings

import numpy as np
import torch
from report import Report, command_line
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.preprocessing import StandardScaler

from skspecialist import SparseSpecialistEncoder, SpecialistPipeline

N_COLUMNS, N_EXPLAINED = 40, 20
WORLDS = ("separate", "curved", "correlated", "shared")


def world(kind, seed, n_samples):
    """Return columns, tasks, and the columns that depend on latents of the tasks."""
    fixed, rng = np.random.default_rng(seed), np.random.default_rng([seed, n_samples])
    relevant, others = rng.normal(size=(2, n_samples, 4))
    if kind == "correlated":
        others = 0.5 * relevant + 0.75**0.5 * others
    is_relevant = fixed.permutation(N_COLUMNS) < N_COLUMNS // 2
    X = np.empty((n_samples, N_COLUMNS))
    for latents, columns in ((relevant, is_relevant), (others, ~is_relevant)):
        weights = fixed.normal(size=(4, 20)) / 2
        X[:, columns] = latents @ weights
        if kind == "curved":
            X[:, columns] = np.tanh(X[:, columns]) @ fixed.normal(size=(20, 20)) / 20**0.5
    if kind == "shared":  # half of the relevant columns contain the other latents as well
        mixed = is_relevant & (fixed.random(N_COLUMNS) < 0.5)
        X[:, mixed] += others @ fixed.normal(size=(4, mixed.sum())) / 2
    X += 0.1 * rng.normal(size=X.shape)
    tasks = np.column_stack(
        [relevant[:, 0] + np.sin(relevant[:, 1]), np.tanh(relevant[:, 2]) - relevant[:, 3]]
    )
    return X, tasks / tasks.std(axis=0) + 0.3 * rng.normal(size=tasks.shape), is_relevant


def ours(X, y, X_new, seed):
    """Return importances from contributions to predictions, predictions, and the largest gap."""
    pipeline = SpecialistPipeline(random_state=seed).fit(X[:, None], y)
    explanation = pipeline.explain(X_new[:N_EXPLAINED, None], by="columns", n_permutations=5)
    predicted = pipeline.predict(X_new[:, None])
    parts = np.stack([part[..., 0] for part in explanation.contributions], axis=2)
    total = np.ravel(explanation.base) + parts.sum(axis=1)
    gap = np.abs(total - predicted[:N_EXPLAINED]).max()
    return np.abs(parts).mean(axis=(0, 2)), predicted, f"{gap:.1e}"


def decoded(X, y, X_new, seed):
    """Return the changes of each column with the latents of the tasks, others at their mean."""
    encoder = SparseSpecialistEncoder(random_state=seed).fit(X, y)
    columns = encoder.inverse_transform(encoder.transform(X_new))
    return columns.std(axis=0) / X.std(axis=0), encoder.predict(X_new), ""


def ridge(X, y, X_new, seed):
    """Return the coefficients of ridge regression, and its predictions."""
    scaler = StandardScaler().fit(X)
    model = RidgeCV(np.logspace(-4, 4, 17), alpha_per_target=True).fit(scaler.transform(X), y)
    return np.abs(model.coef_).sum(axis=0), model.predict(scaler.transform(X_new)), ""


def xcebra(X, y, X_new, seed, n_steps=1000):
    """Return means of the absolute pseudo-inverse of the Jacobian."""
    import cebra
    from cebra.solver.regularized import RegularizedSolver

    scaler, scales = StandardScaler().fit(X), y.std(axis=0)
    torch.manual_seed(seed)
    rows = torch.from_numpy(scaler.transform(X)).float()
    values = torch.from_numpy((y - y.mean(axis=0)) / scales).float()
    data = cebra.data.TensorDataset(rows, continuous=values)
    model = cebra.models.init("offset1-model-mse", N_COLUMNS, 64, y.shape[1])
    data.configure_for(model)
    loader = cebra.data.ContinuousDataLoader(
        data, num_steps=n_steps, batch_size=256, conditional="delta_normal", delta=0.3
    )
    criterion = cebra.models.FixedEuclideanInfoNCE(temperature=1.0)
    parameters = [*model.parameters(), *criterion.parameters()]
    solver = RegularizedSolver(
        model=model,
        criterion=criterion,
        optimizer=torch.optim.Adam(parameters, lr=1e-3),
        tqdm_on=False,
        lambda_JR=0.1,
    )
    solver.fit(loader)
    new = torch.from_numpy(scaler.transform(X_new[:N_EXPLAINED])).float().requires_grad_()
    # As cebra.attribution.get_attribution_map, whose module needs a further package.
    outputs = model.eval()(new).squeeze(-1).sum(dim=0)
    slopes = [torch.autograd.grad(output, new, retain_graph=True)[0] for output in outputs]
    inverse = np.linalg.pinv(torch.stack(slopes, dim=1).numpy())
    with torch.no_grad():
        states, states_new = (
            model(torch.from_numpy(scaler.transform(part)).float()).squeeze(-1).numpy()
            for part in (X, X_new)
        )
    readout = RidgeCV(np.logspace(-4, 4, 17)).fit(states, y)
    return np.abs(inverse).mean(axis=0).max(axis=1), readout.predict(states_new), ""


METHODS = {
    "decoded latents": decoded,
    "contributions": ours,
    "xCEBRA": xcebra,
    "ridge coefficients": ridge,
}


def main():
    """Run everything."""
    arguments = command_line(__doc__).parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    report = Report("attribution", "Attribution to columns", arguments.output)
    seeds, n_samples = (range(200, 202), 1000) if not arguments.tiny else ([100], 60)
    rows = []
    for kind in WORLDS[:1] if arguments.tiny else WORLDS:
        for name, method in METHODS.items():
            if arguments.tiny and name == "xCEBRA":
                continue
            cells = []
            for seed in seeds:
                X, y, is_relevant = world(kind, seed, n_samples)
                X_new, y_new, _ = world(kind, seed, 2000)
                start = time.process_time()
                importances, predicted, gap = method(X, y, X_new, seed)
                seconds = time.process_time() - start
                cells.append(
                    (roc_auc_score(is_relevant, importances), r2_score(y_new, predicted), seconds)
                )
            scores = np.array(cells)
            means = scores.mean(axis=0).tolist()
            rows.append([kind, name, means[0], float(scores[:, 0].min()), *means[1:], gap])
            print(rows[-1], flush=True)
    report.table(
        f"{n_samples} samples of {N_COLUMNS} columns, 20 of them relevant, two tasks; {len(seeds)} "
        "seeds: area under the curve of the relevant columns, held-out R2 of the tasks, and the "
        "largest difference between the sum of the contributions and the prediction",
        ["world", "method", "AUC", "lowest AUC", "R2", "CPU seconds", "difference"],
        rows,
    )
    report.save()


if __name__ == "__main__":
    main()
