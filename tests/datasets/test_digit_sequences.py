"""Digit sequences show real images whose tasks are functions of their digits."""

from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits

from skspecialist.datasets import make_digit_sequences


def test_tasks_are_functions_of_the_digits_of_their_steps():
    data = make_digit_sequences(500, noise=0.0, random_state=0)
    rules = {
        "sum": lambda d: d.sum(axis=1),
        "odd": lambda d: (d % 2 == 1).sum(axis=1),
        "large": lambda d: (d >= 5).sum(axis=1),
        "largest": lambda d: d.max(axis=1),
    }
    assert sorted(data.task_kinds) == sorted(rules)
    for i, kind in enumerate(data.task_kinds):
        assert_array_equal(data.y[:, i], rules[kind](data.digits[:, data.step_weights[:, i]]))


def test_noise_is_a_share_of_the_tasks_own_spread():
    clean = make_digit_sequences(5000, noise=0.0, random_state=1).y
    noisy = make_digit_sequences(5000, noise=0.5, random_state=1).y
    assert_allclose((noisy - clean).std(axis=0) / clean.std(axis=0), 0.5, rtol=0.1)


def test_steps_are_images_of_the_digits():
    pixels, labels = load_digits(return_X_y=True)
    known = {image.tobytes(): label for image, label in zip(pixels / 16, labels, strict=True)}
    data = make_digit_sequences(20, random_state=2)
    for image, digit in zip(data.X.reshape(-1, 64), data.digits.ravel(), strict=True):
        assert known[image.tobytes()] == digit


def test_train_and_test_images_are_disjoint_and_share_the_structure():
    train = make_digit_sequences(300, subset="train", random_state=3)
    test = make_digit_sequences(300, subset="test", random_state=3)
    assert_array_equal(train.structure, test.structure)
    images = [{image.tobytes() for image in data.X.reshape(-1, 64)} for data in (train, test)]
    assert not images[0] & images[1]
