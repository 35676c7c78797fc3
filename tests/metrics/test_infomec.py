"""InfoMEC against its definition."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.feature_selection import mutual_info_classif, mutual_info_regression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mutual_info_score

from skspecialist.metrics import infomec


def numbers(n_samples=200, n_latents=3):
    return np.random.RandomState(0).standard_normal((n_samples, n_latents))


def rotation(degrees):
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[cos, -sin], [sin, cos]])


def test_scores_follow_from_the_information():
    true = numbers()
    mixed = true @ [[1, 0.4, 0.3], [0, 1, 0.2], [0, 0, 1]]
    scores = infomec(true, mixed)
    information = scores.information
    shares = [column.max() / column.sum() for column in information.T]
    assert scores.modularity == pytest.approx((np.mean(shares) - 1 / 3) / (1 - 1 / 3))
    shares = [row.max() / row.sum() for row in information]
    assert scores.compactness == pytest.approx((np.mean(shares) - 1 / 3) / (1 - 1 / 3))
    assert scores.explicitness == pytest.approx(1)


def test_information_of_normals_is_that_of_their_correlation():
    true = numbers(500, 2)
    scores = infomec(true, true @ rotation(30))
    # Information about itself, which no nearest-neighbor estimate can exceed.
    own = mutual_info_regression(true[:, :1], true[:, 0], n_neighbors=10, random_state=0)
    squares = rotation(30) ** 2
    # The information of normals with correlation r has a standard error of r / sqrt(n).
    error = 3 * np.sqrt(squares.max() / len(true))
    assert_allclose(scores.information * own, -np.log(1 - squares) / 2, atol=error)


def test_the_truth_scores_one():
    true = numbers()
    classes = np.random.RandomState(0).randint(3, size=(200, 2))
    for sources, discrete in ((true[:, :2], False), (classes, True)):
        scores = infomec(sources, -2 * sources[:, ::-1], discrete=discrete)
        assert_allclose([scores.modularity, scores.compactness], 1)
        assert scores.explicitness > 0.99
    mixed = np.column_stack([classes[:, 0], true[:, 0]])
    information = infomec(mixed, mixed, discrete=[True, False]).information
    assert_allclose(information, np.eye(2), atol=0.05)


@pytest.mark.slow
def test_unrelated_latents_score_zero():
    noise = np.random.RandomState(1).standard_normal((200, 4))
    classes = np.random.RandomState(0).randint(4, size=(200, 3))
    for sources, discrete in ((numbers(), False), (classes, True)):
        scores = infomec(sources, noise, discrete=discrete)
        assert (scores.modularity, scores.compactness) == (0, 0)
        assert scores.explicitness < 0.02
        assert not scores.active.any()


@pytest.mark.slow
def test_order_signs_and_monotone_maps_do_not_matter():
    true = numbers(200, 2)
    learned = true @ rotation(20)
    order = [1, 0]
    expected, scores = infomec(true, learned), infomec(true, np.exp(-learned[:, order]))
    # Equal distances between neighbors are told apart at random.
    assert_allclose(scores.information, expected.information[:, order], atol=2e-3)
    linear = infomec(true, learned @ [[1, 2], [0, 3]])
    assert linear.explicitness == pytest.approx(expected.explicitness)


@pytest.mark.slow
def test_a_latent_of_two_sources_is_not_modular_and_a_source_in_two_latents_not_compact():
    true = numbers(200, 2)
    together = infomec(true, true.sum(axis=1, keepdims=True))
    assert together.modularity < 0.2
    assert together.compactness == 1
    noise = 0.1 * np.random.RandomState(1).standard_normal((200, 2))
    apart = infomec(true[:, :1], true[:, :1] + noise)
    assert apart.compactness < 0.1
    assert apart.modularity == 1


def test_inactive_latents_are_left_out():
    true = numbers()
    noise = np.random.RandomState(1).standard_normal((200, 1))
    scores = infomec(true, np.hstack([true, noise]))
    assert_array_equal(scores.active, [True, True, True, False])
    assert_allclose([scores.modularity, scores.compactness], 1)


@pytest.mark.slow
def test_linear_explicitness_is_the_variance_explained():
    true = numbers(500, 1)
    noise = np.random.RandomState(1).standard_normal((500, 1))
    # The standard error of a squared correlation of 0.5 is 0.03.
    assert infomec(true, true + noise).explicitness == pytest.approx(0.5, abs=3 * 0.03)


@pytest.mark.slow
def test_logistic_explicitness_is_the_share_of_the_entropy():
    rng = np.random.RandomState(0)
    sent = rng.randint(2, size=(500, 1))
    received = sent ^ (rng.uniform(size=(500, 1)) < 0.1)
    capacity = 1 + 0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)
    # A share of errors of 0.1 has a standard error of 0.013, and capacity a slope of log2(9).
    found = infomec(sent, received, discrete=True).explicitness
    assert found == pytest.approx(capacity, abs=3 * 0.013 * np.log2(9))


@pytest.mark.slow
def test_scores_are_those_of_the_formulas_of_the_authors():
    classes = np.random.RandomState(0).randint(4, size=(400, 3)) / 2
    noise = 0.1 * np.random.RandomState(1).standard_normal((400, 3))
    for mixing in (np.eye(3), np.array([[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]])):
        latents = classes @ mixing + noise
        scores = infomec(classes, latents, discrete=True)
        labels = np.round(2 * classes).astype(int)
        information = np.array([mutual_info_classif(latents, c, n_neighbors=10) for c in labels.T])
        information /= np.array([mutual_info_score(c, c) for c in labels.T])[:, None]
        for score, axis in ((scores.modularity, 0), (scores.compactness, 1)):
            share = (information.max(axis=axis) / information.sum(axis=axis)).mean()
            # Estimates below chance are 0 here.
            assert score == pytest.approx((share - 1 / 3) / (1 - 1 / 3), abs=0.05)
        entropies = []
        for c in labels.T:
            reader = LogisticRegression(C=1e3, class_weight="balanced", max_iter=1000)
            left = log_loss(c, reader.fit(latents, c).predict_proba(latents))
            entropies.append(1 - left / np.log(4))
        assert scores.explicitness == pytest.approx(np.mean(entropies), abs=0.03)


@pytest.mark.slow
def test_readers_of_discrete_latents_get_indicators():
    latents = np.random.RandomState(0).randint(4, size=(200, 1))
    parity = latents % 2  # not monotone
    assert infomec(parity, latents, discrete=True).explicitness < 0.5
    scores = infomec(parity, latents, discrete=True, discrete_latents=True)
    assert scores.explicitness == pytest.approx(1, abs=0.01)


def test_wrong_classes_say_so():
    with pytest.raises(ValueError, match="Is it continuous"):
        infomec(numbers(), numbers(), discrete=True)
    with pytest.raises(ValueError, match=r"one for each of the 3 sources, got shape \(2,\)"):
        infomec(numbers(), numbers(), discrete=[True, False])
