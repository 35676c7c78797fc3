"""Pruning and masking of a pretrained module for tasks of few labels, against full fine-tuning.

``python benchmarks/prune.py`` prints the tables and saves them. A convolutional network is
trained to classify the digits 0 to 4; the ten tasks are to classify three of the digits 5 to 9,
with few labels. The default importance and the share of 0.5 were chosen on the opposite halves of
the digits.
"""

import itertools
import time
import warnings

import numpy as np
import torch
from report import Report, command_line
from sklearn.datasets import load_digits
from torch import nn

from skspecialist import PruneThenFinetune

EPOCHS = 60
METHODS = {
    "full fine-tuning": {"strategy": "full"},
    "head alone": {"strategy": "head"},
    "prune to 0.5": {"keep": 0.5},
    "prune to 0.25": {"keep": 0.25},
    "prune to 0.1": {"keep": 0.1},
    "mask": {"strategy": "mask"},
}
# Fits take seconds each: the cells that are measured.
CELLS = {
    50: list(METHODS),
    100: ["full fine-tuning", "prune to 0.25"],
}
TINY = {20: ["full fine-tuning", "prune to 0.5"]}


def convolutions():
    """Return three convolutions with batch normalization."""
    layers = [nn.Unflatten(1, (1, 8, 8))]
    for n_inputs, n_outputs in ((1, 32), (32, 64), (64, 64)):
        convolution = nn.Conv2d(n_inputs, n_outputs, 3, padding=1)
        layers += [convolution, nn.BatchNorm2d(n_outputs), nn.ReLU()]
    return nn.Sequential(
        *layers[:7], nn.MaxPool2d(2), *layers[7:], nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )


def pretrain(X, y, epochs):
    """Return a classifier of digits, without its head."""
    torch.manual_seed(0)
    module = convolutions()
    net = nn.Sequential(module, nn.Linear(64, 5)).train()
    rows, labels = torch.tensor(X, dtype=torch.float32), torch.tensor(y)
    optimizer = torch.optim.AdamW(net.parameters(), 2e-3)
    n_steps = epochs * len(rows.split(64))
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=n_steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(rows)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(rows[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return module.eval()


def latency(module, rows, n_runs=30):
    """Return the least CPU milliseconds of a forward pass of one row and of all rows."""
    module = module.float().eval()
    found = []
    with torch.no_grad():
        for batch in (rows[:1], rows):
            times = []
            for _ in range(n_runs):
                start = time.process_time()
                module(batch)
                times.append(time.process_time() - start)
            found.append(1e3 * min(times))
    return found


def main():
    """Run everything."""
    arguments = command_line(__doc__).parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    X, y = load_digits(return_X_y=True)
    X = X / 16
    is_old = y < 5
    epochs = 1 if arguments.tiny else EPOCHS
    report = Report("prune", "Pruning and masking against full fine-tuning", arguments.output)
    cells = {20: ["full fine-tuning", "prune to 0.5"]} if arguments.tiny else CELLS
    tasks = list(itertools.combinations(range(5, 10), 3))[: 1 if arguments.tiny else None]
    options = {"cv": None, "max_epochs": 1 if arguments.tiny else None}
    rows = torch.tensor(X[:256], dtype=torch.float32)
    speed, module = [], pretrain(X[is_old], y[is_old], epochs)
    for n_labels, methods in cells.items():
        scores, sizes, seconds = {}, {}, {}
        for seed, digits in enumerate(tasks):
            chosen = np.flatnonzero(np.isin(y, digits))
            np.random.default_rng(seed).shuffle(chosen)
            train, test = chosen[:n_labels], chosen[n_labels:]
            for name in methods:
                start = time.process_time()
                fitted = PruneThenFinetune(module, random_state=seed, **options, **METHODS[name])
                fitted.fit(X[train], y[train])
                seconds.setdefault(name, []).append(time.process_time() - start)
                scores.setdefault(name, []).append(fitted.score(X[test], y[test]))
                sizes.setdefault(name, []).append(fitted.size_ / fitted.full_size_)
                if seed == 0 and name.startswith(("full", "prune")):
                    share = fitted.report().flops_share
                    times = latency(fitted.module_, rows)
                    speed.append([n_labels, name, share, *times])
        table, full = [], np.array(scores["full fine-tuning"])
        for name, found in scores.items():
            gain = np.array(found) - full
            error = float(gain.std(ddof=1) / len(gain) ** 0.5) if len(gain) > 1 else 0.0
            numbers = [np.mean(sizes[name]), np.mean(found), gain.mean(), error, np.median(gain)]
            better = f"{sum(gain > 0)} / {sum(gain < 0)}"
            table.append([name, *map(float, numbers), better, float(np.mean(seconds[name]))])
        report.table(
            f"{n_labels} labels, {len(tasks)} tasks: accuracy, and its difference to full "
            "fine-tuning with its standard error over tasks",
            [
                *("method", "parameters", "accuracy", "difference", "se", "median"),
                *("better / worse", "CPU seconds"),
            ],
            table,
        )
    report.table(
        "First task: operations relative to the module, CPU milliseconds of one row and of 256, "
        "single precision, one thread",
        ["labels", "method", "operations", "one row", "256 rows"],
        speed,
    )
    report.save()


if __name__ == "__main__":
    main()
