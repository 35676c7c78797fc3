"""Tasks that cannot be learned, beside others that can."""

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold

from skspecialist import SparseSpecialistEncoder, SpecialistClassifier, SpecialistPipeline
from skspecialist.exceptions import SpecialistWarning

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6, 4))
GOOD = X[:, 4, 2] + 0.3 * RNG.normal(size=120)
GROUPS = np.repeat(np.arange(4), 30)


def new_pipeline(**params):
    encoder = SparseSpecialistEncoder(
        2, n_relevant=1, input_noise=0.3, hidden_layer_sizes=(4,), max_epochs=1
    )
    return SpecialistPipeline(encoder=encoder, random_state=0, **params)


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
@pytest.mark.parametrize("strategy", ["stack", "best"])
@pytest.mark.parametrize("n_rare", [1, 2])
def test_a_rare_class_does_not_stop_the_other_tasks(strategy, n_rare):
    rare = (np.arange(120) < n_rare).astype(int)
    y = np.column_stack([rare, GOOD > 0])
    pipeline = new_pipeline(strategy=strategy, cv=3)
    if n_rare == 1:
        with pytest.warns(SpecialistWarning, match="Task 'task0' .* one class only in this"):
            pipeline.fit(X, y)
        assert pipeline.weights_[0] == {"null": 1.0}
        assert "training fold" in pipeline.fallback_reason_[0]
    else:
        pipeline.fit(X, y)
    assert np.mean(pipeline.predict(X)[:, 1] == (GOOD > 0)) > 0.8


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_an_amount_that_is_constant_in_a_fold_does_not_stop_the_other_tasks():
    y = np.column_stack([np.where(GROUPS < 3, 0.0, GOOD), GOOD])
    pipeline = new_pipeline(cv=GroupKFold(4))
    with pytest.warns(SpecialistWarning, match="Task 'task0' .* one value only in this"):
        pipeline.fit(X, y, groups=GROUPS)
    assert pipeline.predicted_from_[0] == "null"
    assert np.corrcoef(pipeline.predict(X)[:, 1], GOOD)[0, 1] > 0.8


@pytest.mark.filterwarnings("ignore::skspecialist.exceptions.SpecialistWarning")
def test_one_task_alone_falls_back_too():
    rare = (np.arange(120) < 1).astype(int)
    fitted = SpecialistClassifier(random_state=0).fit(X, rare)
    assert fitted.weights_ == [{"null": 1.0}]
    assert fitted.predict_proba(X)[:, 1] == pytest.approx(1 / 120)
