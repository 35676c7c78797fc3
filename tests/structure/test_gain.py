"""The gain of a structure is that of an independently computed ridge regression."""

import numpy as np
from numpy.testing import assert_allclose
from scipy.stats import multivariate_normal
from sklearn.linear_model import RidgeCV

from skspecialist.independence._moments import FoldedMoments, Moments, WideMoments, fold_moments
from skspecialist.structure._gain import PENALTIES, GaussianGain


def test_gain_of_a_strong_predictor_is_its_mutual_information():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100_000, 2))
    y = x[:, :1] + 0.5 * rng.normal(size=(100_000, 1))
    data = np.hstack([x, y])
    gain = GaussianGain(np.array([0, 1]), np.array([2])).fit(Moments.from_data(data[:50_000]))
    assert_allclose(
        gain.gain(Moments.from_data(data[50_000:])), 0.5 * np.log(1.25 / 0.25), atol=0.02
    )


def test_no_predictors_gain_nothing():
    data = np.random.default_rng(1).normal(size=(50, 2))
    gain = GaussianGain(np.array([], dtype=int), np.array([1])).fit(Moments.from_data(data))
    assert gain.gain(Moments.from_data(data)) == 0.0


def test_coefficients_equal_ridge_with_generalized_cross_validation():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(80, 20))
    y = x[:, :1] - x[:, 1:2] + 2 * rng.normal(size=(80, 1))
    moments = Moments.from_data(np.hstack([x, y]))
    gain = GaussianGain(np.arange(20), np.array([20])).fit(moments)
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / spread
    values = np.linalg.eigvalsh(x.T @ x)

    def criterion(penalty):
        # Golub, Heath & Wahba's criterion, from the hat matrix.
        xc, yc = x - x.mean(axis=0), y - y.mean()
        hat = xc @ np.linalg.solve(xc.T @ xc + penalty * np.eye(20), xc.T)
        return ((yc - hat @ yc) ** 2).sum() / (79 - np.trace(hat)) ** 2

    penalties = PENALTIES * values.mean()
    best = penalties[np.argmin([criterion(p) for p in penalties])]
    ridge = RidgeCV(alphas=[best]).fit(x, y.ravel())
    assert_allclose(gain.coef_.ravel(), ridge.coef_ / spread, rtol=1e-6)


def test_more_predictors_than_samples_do_not_fail():
    data = np.random.default_rng(3).normal(size=(30, 101))
    gain = GaussianGain(np.arange(100), np.array([100])).fit(Moments.from_data(data[:20]))
    assert np.isfinite(gain.gain(Moments.from_data(data[20:])))


def test_noise_predictors_cost_little():
    data = np.random.default_rng(4).normal(size=(1000, 51))
    gain = GaussianGain(np.arange(50), np.array([50])).fit(Moments.from_data(data[:500]))
    assert -0.1 < gain.gain(Moments.from_data(data[500:])) < 0.05


def test_units_of_the_predictors_do_not_matter():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(400, 3))
    y = x[:, :1] + rng.normal(size=(400, 1))
    gains = []
    for units in ([1, 1, 1], [1e-6, 1e5, 1]):
        data = np.hstack([x * units, y])
        gain = GaussianGain(np.arange(3), np.array([3])).fit(Moments.from_data(data[:200]))
        gains.append(gain.gain(Moments.from_data(data[200:])))
    assert_allclose(*gains, rtol=1e-6)


def test_the_gain_is_the_mean_log_likelihood_ratio_of_the_samples():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(300, 3))
    y = x[:, :2] @ [[1.0, 0.5], [0.0, 1.0]] + rng.normal(size=(300, 2))
    data = np.hstack([x, y])
    gain = GaussianGain(np.arange(3), np.array([3, 4])).fit(Moments.from_data(data[:200]))
    new = data[200:] - gain.mean_
    given = multivariate_normal(cov=gain.covariance_).logpdf(new[:, 3:] - new[:, :3] @ gain.coef_)
    alone = multivariate_normal(cov=gain.null_covariance_).logpdf(new[:, 3:])
    assert_allclose(gain.gain(Moments.from_data(data[200:])), np.mean(given - alone))


def test_fewer_sequences_than_columns_have_the_same_gain():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 90))
    X[:, 5] = 1.0
    tasks = X[:, :1] + rng.normal(size=(60, 2))
    wide, folded = fold_moments(X, tasks), FoldedMoments.from_data(X, tasks)
    assert isinstance(wide, WideMoments)
    gains = []
    for moments in (wide, folded):
        gain = GaussianGain(np.arange(80), np.array([90, 91])).fit(moments.total)
        gains.append([gain.gain(moments.part(20)), *gain.coef_.ravel()])
    assert_allclose(*gains, atol=1e-8)
