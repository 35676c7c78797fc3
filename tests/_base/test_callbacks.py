"""Callbacks of scikit-learn receive each task of a fit, and change nothing."""

import pickle
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skspecialist import (
    SparseMultiTaskSelector,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistPipeline,
    TaskLocalizer,
)
from skspecialist._base.estimator import callback_context
from skspecialist.saving import trusted_types

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn >= 1.9")

rng = np.random.default_rng(0)
STEPS = rng.normal(size=(60, 4))
VALUES = STEPS[:, :2] + 0.1 * rng.normal(size=(60, 2))
SEQUENCES = rng.normal(size=(60, 3, 4))
AMOUNTS = SEQUENCES[:, 1, :2]

QUICK = {"heads": "linear", "max_epochs": 2, "random_state": 0}
SMALL = QUICK | {"n_components": 2, "hidden_layer_sizes": (4,), "input_noise": 0.3}
CASES = {
    "encoder": (SparseSpecialistEncoder(**SMALL), STEPS, VALUES),
    "early stopping": (SparseSpecialistEncoder(**SMALL, early_stopping=True), STEPS, VALUES),
    "selector": (SparseMultiTaskSelector(**QUICK), STEPS, VALUES),
    "encoder CV": (SparseSpecialistEncoderCV(cv=2, **SMALL), STEPS, VALUES),
    "localizer": (TaskLocalizer(max_epochs=2, random_state=0), SEQUENCES, AMOUNTS),
    "pipeline": (
        SpecialistPipeline(
            structure=TaskLocalizer(max_epochs=2),
            encoder=SparseSpecialistEncoder(2, heads="linear", max_epochs=2),
            strategy="specialist",
            random_state=0,
        ),
        SEQUENCES,
        AMOUNTS,
    ),
}
pytestmark = pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")


class Recorder:
    """Callback that records its calls, and is passed on to the parts of an estimator."""

    max_propagation_depth = None

    def __init__(self):
        self.events = []

    def setup(self, estimator, context):
        self.events.append(("setup", path_of(context)))

    def teardown(self, estimator, context):
        self.events.append(("teardown", path_of(context)))

    def on_fit_task_begin(self, estimator, context):
        self.events.append(("begin", path_of(context)))

    def on_fit_task_end(self, estimator, context):
        self.events.append(("end", path_of(context)))

    def tasks(self):
        """Return the paths of tasks that ended, in the order in which they began."""
        open_tasks, found = [], []
        for event, path in self.events:
            if event == "begin":
                assert path[:-1] == (open_tasks[-1] if open_tasks else ())
                open_tasks.append(path)
                found.append(path)
            elif event == "end":
                assert open_tasks.pop() == path
        assert not open_tasks
        return found


def path_of(context):
    """Return the estimators, tasks and numbers from the root to a context."""
    own = (context.estimator_name, context.task_name, context.task_id)
    return (*(path_of(context.parent) if context.parent else ()), own)


def names(path):
    return [f"{estimator} {task}" for estimator, task, _ in path]


def numbers(fitted, X):
    outputs = fitted.predict(X) if hasattr(fitted, "predict") else fitted.latents(X)
    return [np.asarray(outputs), fitted.mask_]


@pytest.mark.parametrize("case", CASES)
def test_tasks_come_in_pairs_and_change_nothing(case):
    estimator, X, y = CASES[case]
    recorder = Recorder()
    told = clone(estimator).set_callbacks(recorder).fit(X, y)
    untold = clone(estimator).fit(X, y)

    name = type(estimator).__name__
    assert names(recorder.tasks()[0]) == [f"{name} fit"]
    outer = [event for event, _ in recorder.events if event in ("setup", "teardown")]
    assert outer == ["setup", "teardown"] == [recorder.events[0][0], recorder.events[-1][0]]
    for one, other in zip(numbers(told, X), numbers(untold, X), strict=True):
        np.testing.assert_array_equal(one, other)
    assert vars(told).keys() - vars(untold).keys() == {"_skl_callbacks"}
    assert pickle.dumps(told.set_callbacks()) == pickle.dumps(untold)


@pytest.mark.parametrize("case", ["encoder", "encoder CV", "localizer"])
def test_each_epoch_is_a_task_of_its_training(case):
    estimator, X, y = CASES[case]
    recorder = Recorder()
    fitted = clone(estimator).set_callbacks(recorder).fit(X, y)
    name = type(estimator).__name__
    epochs = [path for path in recorder.tasks() if path[-1][1] == "epoch"]
    assert len(epochs) == len(fitted.history_)
    assert {tuple(names(path)) for path in epochs} == {
        (f"{name} fit", f"{name} training", f"{name} epoch")
    }


def test_stages_of_a_pipeline_hold_the_fits_of_its_parts():
    estimator, X, y = CASES["pipeline"]
    recorder = Recorder()
    pipeline = clone(estimator).set_callbacks(recorder).fit(X, y)
    stages = [names(path)[-1] for path in recorder.tasks() if len(path) == 2]
    assert stages == [
        "SpecialistPipeline generalist",
        "TaskLocalizer fit",
        "SparseSpecialistEncoder fit",
        "SpecialistPipeline estimators",
    ]
    for part in (pipeline.structure_, pipeline.encoder_):
        assert not [key for key in vars(part) if "callback" in key and key != "callbacks"]


def test_a_search_holds_the_fits_of_its_candidates():
    encoder = SparseSpecialistEncoder(**SMALL)
    recorder = Recorder()
    search = GridSearchCV(
        encoder, {"n_relevant": [1, 2]}, cv=2, scoring=lambda e, X, y: e.support_.sum()
    )
    search.set_callbacks(recorder).fit(STEPS, VALUES)
    fits = [path for path in recorder.tasks() if names(path)[-1] == "SparseSpecialistEncoder fit"]
    assert [len(path) for path in fits] == [3, 3, 3, 3, 2]  # in the search, and after it
    assert not hasattr(search.best_estimator_, "_skl_callbacks")


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_bars(n_jobs, capsys):
    pytest.importorskip("rich")
    encoder = SparseSpecialistEncoder(n_relevant=1, sparsity=0, **SMALL)
    search = GridSearchCV(
        encoder, {"learning_rate": [0.03]}, cv=2, scoring=lambda e, X, y: 0.0, n_jobs=n_jobs
    )
    search.set_callbacks(callback.ProgressBar()).fit(STEPS, VALUES)
    shown = capsys.readouterr().out
    # Two trainings in each of two folds, and in the fit to all samples.
    assert shown.count("SparseSpecialistEncoder - training") >= 6


@pytest.mark.parametrize("case", ["encoder", "localizer", "pipeline"])
def test_a_fit_that_fails_tears_down_and_leaves_no_trace(case):
    estimator, X, y = CASES[case]
    recorder = Recorder()
    failing = clone(estimator).set_callbacks(recorder)
    before = dict(vars(failing))
    with (
        patch("skspecialist.networks.net.SpecialistNet.train_step", side_effect=OSError("broken")),
        pytest.raises(OSError, match="broken"),
    ):
        failing.fit(X, y)
    assert vars(failing) == before
    root = ((type(estimator).__name__, "fit", 0),)
    assert recorder.events[0] == ("setup", root)
    assert recorder.events[-1] == ("teardown", root)
    assert ("end", root) not in recorder.events


def test_clones_and_files_keep_callbacks_as_those_of_scikit_learn_do(tmp_path):
    skops = pytest.importorskip("skops.io")
    monitor = callback.ScoringMonitor(scoring="r2")
    encoder = SparseSpecialistEncoder(**SMALL).set_callbacks(monitor)
    assert clone(encoder)._skl_callbacks[0] is monitor
    encoder.fit(STEPS, VALUES)
    assert len(pickle.loads(pickle.dumps(encoder))._skl_callbacks) == 1
    encoder.set_callbacks()
    file = tmp_path / "encoder.skops"
    skops.dump(encoder, file)
    loaded = skops.load(file, trusted=trusted_types(file))
    np.testing.assert_array_equal(loaded.mask_, encoder.mask_)


@pytest.mark.slow
def test_a_saved_fit_goes_on_with_callbacks(tmp_path):
    encoder = SparseSpecialistEncoder(**SMALL, checkpoint_dir=tmp_path)
    first, second = Recorder(), Recorder()
    once = clone(encoder).set_callbacks(first).fit(STEPS, VALUES)
    again = clone(encoder).set_callbacks(second).fit(STEPS, VALUES)
    np.testing.assert_array_equal(once.mask_, again.mask_)
    assert {path[-1][1] for path in first.tasks()} == {"fit", "training", "epoch"}
    assert {path[-1][1] for path in second.tasks()} == {"fit", "training"}  # all was there
    assert len(list(tmp_path.iterdir())) == 1


def test_no_callbacks_before_scikit_learn_1_9():
    with (
        callback_context(object(), None, None) as task,
        task.subtask("training", 2) as training,
        training.subtask("epoch") as epoch,
    ):
        assert epoch is task
