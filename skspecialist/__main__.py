"""Demonstration on images of digits: ``python -m skspecialist``.

Makes sequences of handwritten digits with tasks on some of their steps, fits a
:class:`~skspecialist.SpecialistPipeline`, compares the structure found with the truth and its
predictions with those of the generalist, on held-out images. Prints tables and writes
figures.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import RidgeCV
from sklearn.metrics import r2_score
from sklearn.utils import Bunch

from .datasets._digit_sequences import make_digit_sequences
from .inspection._mask import MaskDisplay
from .inspection._sequence import SequenceDisplay
from .inspection._specialist_gain import SpecialistGainDisplay
from .inspection._task_structure import TaskStructureDisplay
from .metrics._structure import structure_scores
from .pipeline._pipeline import SpecialistPipeline


def main(arguments: list[str] | None = None) -> None:
    """Run the demonstration.

    Parameters
    ----------
    arguments : list of str, default=None
        Command-line arguments; None takes those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m skspecialist", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("demo_output"), help="for the figures")
    parser.add_argument("--n-sequences", type=int, default=1000, help="to fit on")
    parser.add_argument("--random-state", type=int, default=0)
    options = parser.parse_args(arguments)

    show("Generating sequences of 16 digits, with four tasks on some of their steps")
    train, test = (
        make_digit_sequences(options.n_sequences, subset=half, random_state=options.random_state)
        for half in ("train", "test")
    )
    show("Fitting generalist (16 principal components per step), structure, encoder, estimators")
    start = time.perf_counter()
    pipeline = SpecialistPipeline(PCA(16), random_state=options.random_state, verbose=1)
    pipeline.fit(train.X, train.y)
    show(f"Fitted in {time.perf_counter() - start:.0f} seconds; fitting the generalist alone")
    generalist = clone(pipeline).set_params(strategy="generalist", verbose=0).fit(train.X, train.y)
    pixels = Bunch(X=train.X.reshape(len(train.X), -1), test=test.X.reshape(len(test.X), -1))
    ridge = RidgeCV(alphas=np.logspace(-2, 5, 15)).fit(pixels.X, train.y)

    print_structure(pipeline, train)
    predictions = {
        "specialist": (pipeline.predict(test.X), pipeline.n_features_used_),
        "generalist": (generalist.predict(test.X), generalist.n_features_used_),
        "ridge on pixels": (ridge.predict(pixels.test), [pixels.X.shape[1]] * len(train.y[0])),
    }
    print_predictions(pipeline, predictions, test)
    for path in write_figures(pipeline, train, test, options.output):
        show(f"Wrote {path}")


def show(line: str) -> None:
    """Print a line without buffering."""
    print(line, flush=True)


def print_table(title: str, header: list[str], rows: list[list[Any]]) -> None:
    """Print a table; floats get three digits."""
    cells = [header] + [
        [f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
    show("\n".join(["", title, lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))


def print_structure(pipeline: SpecialistPipeline, data: Bunch) -> None:
    """Print the steps and latents found."""
    truth, found = np.asarray(data.step_weights) > 0, pipeline.step_mask_
    scores = structure_scores(truth, found)
    print_table(
        "Structure: steps of each task, against the truth",
        ["MCC", "false discoveries", "steps found", "true steps"],
        [
            [
                scores.mcc,
                scores.false_discovery_proportion,
                found.sum(),
                truth.sum(),
            ]
        ],
    )
    if pipeline.encoder_ is None:
        show("\nNo task was specialized: no encoder was kept")
        return
    mask = pipeline.encoder_.mask_
    print_table(
        f"Encoder: {pipeline.encoder_.support_.sum()} of {mask.shape[1]} latents kept",
        ["task", "latents"],
        [
            [kind, " ".join(str(j) for j in np.flatnonzero(row)) or "none"]
            for kind, row in zip(data.task_kinds, mask, strict=True)
        ],
    )


def print_predictions(
    pipeline: SpecialistPipeline, predictions: dict[str, tuple[Any, Any]], data: Bunch
) -> None:
    """Print held-out R2 and the number of features read, task by task."""
    scores = {
        name: r2_score(data.y, prediction, multioutput="raw_values")
        for name, (prediction, _) in predictions.items()
    }
    header = ["task", *(f"{name} ({unit})" for name in predictions for unit in ("R2", "features"))]
    rows = [
        [
            f"{kind}{'' if pipeline.use_specialist_[i] else ' (generalist kept)'}",
            *(
                cell
                for name, (_, n_features) in predictions.items()
                for cell in (float(scores[name][i]), n_features[i])
            ),
        ]
        for i, kind in enumerate(data.task_kinds)
    ]
    rows.append(
        [
            "mean",
            *(
                cell
                for name, (_, n_features) in predictions.items()
                for cell in (float(scores[name].mean()), float(np.mean(n_features)))
            ),
        ]
    )
    print_table("Prediction: held-out sequences of other images", header, rows)
    show("")


def write_figures(
    pipeline: SpecialistPipeline, train: Bunch, test: Bunch, folder: Path
) -> list[Path]:
    """Write structure, mask, gains and example sequences as pictures; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    names = train.task_kinds
    steps = pipeline.structure_.step_mask_
    displays: dict[str, Any] = {
        "structure": TaskStructureDisplay(
            steps, true_step_tasks=train.step_weights, task_names=names
        ).plot(),
        "sequences": SequenceDisplay(
            test.X[:4], steps, task_names=names, image_shape=(8, 8)
        ).plot(),
        "gain": SpecialistGainDisplay(
            pipeline.validation_gain_,
            pipeline.validation_gain_se_,
            use_specialist=pipeline.use_specialist_,
            reasons=pipeline.fallback_reason_,
            task_names=names,
        ).plot(),
    }
    if pipeline.encoder_ is not None:
        displays["mask"] = MaskDisplay(pipeline.encoder_.mask_, task_names=names).plot()
    paths = [folder / f"{name}.png" for name in displays]
    for path, display in zip(paths, displays.values(), strict=True):
        display.figure_.savefig(path, dpi=150, bbox_inches="tight")
    return paths


if __name__ == "__main__":
    main()
