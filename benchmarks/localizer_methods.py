"""Methods that localize the steps of tasks in sequences, all settings fixed beforehand.

Each takes a :class:`localizer_data.Weak` and a seed, and returns scores of the steps of its
``X_test``, shape (n_sequences, n_timesteps, n_tasks). Networks have two hidden layers of 64.
"""

import numpy as np
import torch
from hmmlearn.hmm import GaussianHMM
from sklearn.linear_model import LogisticRegression
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.nn import functional as F

from skspecialist import TaskLocalizer

HIDDEN, BATCH, UPDATES_PER_ROOT, LR = 64, 25, 50, 0.003
MAX_EPOCHS = None  # of all networks; None is the default of each


def localizer(weak, seed, **settings):
    """TaskLocalizer, fitted."""
    settings = {"max_epochs": MAX_EPOCHS, **settings}
    return TaskLocalizer(random_state=seed, **settings).fit(weak.X, weak.y, groups=weak.groups)


def best_smoothing(weak, seed):
    """TaskLocalizer with smoothing 0, 1 or 2, by the log-likelihood of held-out recordings."""
    fits = [localizer(weak, seed, smoothing=smoothing) for smoothing in (0, 1, 2)]
    return max(fits, key=lambda fit: fit.validation_score_)


def supervised(weak, seed):
    """The ceiling: a network fitted to the label of every step."""
    model = make_pipeline(
        StandardScaler(),
        MLPClassifier((HIDDEN, HIDDEN), alpha=0.01, max_iter=MAX_EPOCHS or 200, random_state=seed),
    )
    model.fit(_rows(weak.X), _rows(weak.steps).astype(int))
    return model.predict_proba(_rows(weak.X_test)).reshape(weak.steps_test.shape)


def mean_pooling(weak, seed):
    """Logistic regressions on the mean of the steps, applied to each step."""
    del seed
    model = make_pipeline(
        StandardScaler(), MultiOutputClassifier(LogisticRegression(max_iter=1000))
    )
    model.fit(weak.X.mean(axis=1), weak.y.astype(int))
    columns = [p[:, 1] for p in model.predict_proba(_rows(weak.X_test))]
    return np.column_stack(columns).reshape(weak.steps_test.shape)


def max_pooling(weak, seed):
    """A network that scores steps; a sequence has the largest of its logits."""
    net = nn.Sequential(_mlp(weak.X.shape[2], HIDDEN), nn.ReLU())
    head = nn.Linear(HIDDEN, weak.y.shape[1])
    return _train(
        nn.Sequential(net, head), weak, seed, pool=lambda z: z.amax(dim=1), score=lambda z: z
    )


class GatedAttention(nn.Module):
    """Attention-based multiple-instance learning, gated, an attention for each task.

    Ilse, Tomczak and Welling, "Attention-based deep multiple instance learning", ICML 2018.
    """

    def __init__(self, n_features, n_tasks):
        super().__init__()
        self.embed = nn.Sequential(_mlp(n_features, HIDDEN), nn.ReLU())
        self.tanh, self.gate = nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, HIDDEN)
        self.attention, self.classify = nn.Linear(HIDDEN, n_tasks), nn.Linear(HIDDEN, n_tasks)

    def forward(self, x):
        """Return attention and logits of the steps, side by side."""
        h = self.embed(x)
        gated = torch.tanh(self.tanh(h)) * torch.sigmoid(self.gate(h))
        return torch.stack([self.attention(gated), self.classify(h)])


def attention(weak, seed):
    """Gated attention; the score of a step is its attention times its probability."""

    def pool(z):
        return (torch.softmax(z[0], dim=1) * z[1]).sum(dim=1)

    def score(z):
        return torch.softmax(z[0], dim=1) * torch.sigmoid(z[1])

    module = GatedAttention
    return _train(module(weak.X.shape[2], weak.y.shape[1]), weak, seed, pool=pool, score=score)


def hidden_markov(weak, seed):
    """Gaussian HMM of 16 states; a state has the share of its time in sequences with the task."""
    scaler = StandardScaler().fit(_rows(weak.X))
    X, X_test = (scaler.transform(_rows(part)) for part in (weak.X, weak.X_test))
    n, n_test = (len(part) * [part.shape[1]] for part in (weak.X, weak.X_test))
    model = GaussianHMM(16, "diag", min_covar=0.01, n_iter=20, random_state=seed).fit(X, n)
    states = model.predict_proba(X, n)
    labels = np.repeat(weak.y, weak.X.shape[1], axis=0)
    shares = states.T @ labels / np.maximum(states.sum(axis=0), 1e-9)[:, None]
    return (model.predict_proba(X_test, n_test) @ shares).reshape(weak.steps_test.shape)


def chance(weak, seed):
    """Random scores."""
    return np.random.default_rng(seed).random(weak.steps_test.shape)


RIVALS = {
    "mean pooling, linear probe": mean_pooling,
    "max pooling": max_pooling,
    "attention": attention,
    "Gaussian HMM": hidden_markov,
    "chance": chance,
    "all step labels": supervised,
}


def _mlp(n_in, n_out):
    return nn.Sequential(nn.Linear(n_in, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, n_out))


def _rows(X):
    return X.reshape(-1, X.shape[2])


def _train(module, weak, seed, *, pool, score):
    """Train on the weak labels, for as many updates as ours; return scores."""
    torch.manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    scaler = StandardScaler().fit(_rows(weak.X))
    X, X_test = (
        torch.tensor(scaler.transform(_rows(part)).reshape(part.shape), dtype=torch.float32)
        for part in (weak.X, weak.X_test)
    )
    y = torch.tensor(weak.y, dtype=torch.float32)
    n_batches = max(1, len(X) // BATCH)
    epochs = int(np.clip(UPDATES_PER_ROOT * len(X) ** 0.5 / n_batches, 5, 200))
    epochs = MAX_EPOCHS or epochs
    optimizer = torch.optim.AdamW(module.parameters(), lr=LR, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LR, total_steps=epochs * n_batches)
    for _ in range(epochs):
        for batch in torch.randperm(len(X)).tensor_split(n_batches):
            optimizer.zero_grad()
            F.binary_cross_entropy_with_logits(pool(module(X[batch])), y[batch]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        return score(module.eval()(X_test)).numpy()
