"""Small instances of every public estimator, for scikit-learn's own checks."""

from sklearn.linear_model import LogisticRegression, Ridge
from torch import nn

from skspecialist import (
    FeatureGroupRanker,
    NuisanceRemover,
    OnlineTaskSegmenter,
    PruneThenFinetune,
    RelativeRepresentation,
    SpaceAligner,
    SparseMultiTaskSelector,
    SparseMultiTaskSelectorCV,
    SparseSpecialistEncoder,
    SparseSpecialistEncoderCV,
    SpecialistClassifier,
    SpecialistPipeline,
    SpecialistRegressor,
    SpecialistRouter,
    SufficientReduction,
    TaskGrouper,
    TaskLocalizer,
    TaskStructureIdentifier,
    TorchGeneralist,
)
from skspecialist.baselines import (
    CCABaseline,
    ChangePointBaseline,
    GraphicalLassoBaseline,
    GroupLassoBaseline,
    HMMBaseline,
    QuantizedAutoencoder,
    SelTaskBaseline,
    SparseAutoencoder,
)
from skspecialist.structure import Collider

SMALL = {"max_epochs": 1, "hidden_layer_sizes": (4,), "random_state": 0}
SMALL_LINEAR = {**SMALL, "heads": "linear", "input_noise": 0.3}
# One network: neither the number of latents nor the noise of the inputs is searched for.
SINGLE = SparseSpecialistEncoder(2, n_relevant=1, sparsity=0, input_noise=0.3, **SMALL)

INSTANCES = [
    TaskStructureIdentifier(),
    SINGLE,
    SparseMultiTaskSelector(sparsity=0.1, max_epochs=1, random_state=0),
    SpecialistPipeline(
        structure=TaskStructureIdentifier(1, alpha=0.99, correction="none"),
        encoder=SINGLE,
        estimator=Ridge(),
        strategy="specialist",
        random_state=0,
    ),
    SpecialistRouter([("a", Ridge()), ("b", Ridge())], cv=2, random_state=0),
    TaskLocalizer(2, cv=2, **SMALL),
    TorchGeneralist(nn.Identity()),
    # A module with weights has another hash each time, for reasons of torch.
    PruneThenFinetune(nn.Identity(), strategy="full", cv=None, max_epochs=1, random_state=0),
    FeatureGroupRanker(n_groups=1, random_state=0),
    TaskGrouper(),
    NuisanceRemover(),
    OnlineTaskSegmenter(3),
    RelativeRepresentation(5, metric=["cosine", "euclidean"], random_state=0),
    SpaceAligner(),
    SufficientReduction(1, method="wire"),
    CCABaseline(),
]

# Estimators that share the base of one above: nightly, but for the checks of classifiers.
RELATIVES = [
    SpecialistClassifier(
        encoder=SINGLE, estimator=LogisticRegression(), strategy="specialist", random_state=0
    ),
    SparseSpecialistEncoderCV(2, cv=2, input_noise=0.3, **SMALL),
    SparseMultiTaskSelectorCV(cv=2, sparsities=[0.05], max_epochs=1, random_state=0),
    SpecialistRegressor(encoder=SINGLE, estimator=Ridge(), strategy="specialist", random_state=0),
    GroupLassoBaseline(cv=2),
    GraphicalLassoBaseline(),
    SelTaskBaseline(1, n_components=2, n_iter=10, random_state=0),
    HMMBaseline(n_init=1, random_state=0),
    ChangePointBaseline(),
    QuantizedAutoencoder(2, hidden_layer_sizes=(4,), max_epochs=1, random_state=0),
    SparseAutoencoder(4, n_nonzero_coefs=1, max_epochs=1, random_state=0),
]

# Other settings, and combinations of candidates: these take minutes.
SLOW_INSTANCES = [
    SpecialistRouter(
        [("a", LogisticRegression()), ("b", LogisticRegression())],
        gate="prototype",
        top_k=1,
        balance=0.5,
        random_state=0,
    ),
    TaskStructureIdentifier(criterion="collider", segment_steps="last"),
    SparseSpecialistEncoder(**SMALL),
    SparseSpecialistEncoder(2, n_relevant=1, penalty="hard_concrete", early_stopping=True, **SMALL),
    TaskStructureIdentifier(criterion=Collider(aggregation="any"), correction="none"),
    TaskStructureIdentifier(correction="by", independence_test="wilks", alpha=0.5),
    SparseSpecialistEncoder(sparsity=0.0, heads="linear", **SMALL),
    SparseSpecialistEncoderCV(cv=2, **SMALL),
    SparseMultiTaskSelector(penalty="l1", heads="linear", max_epochs=2, random_state=0),
    SpecialistPipeline(encoder=SINGLE, cv=(0.5, 0.25, 0.25), random_state=0),
    SpecialistPipeline(
        structure=TaskStructureIdentifier(1, alpha=0.99, correction="none"),
        encoder=SparseSpecialistEncoder(sparsity=0.0, heads="linear", **SMALL),
        estimator=Ridge(),
        strategy="specialist",
        random_state=0,
    ),
    SparseMultiTaskSelector(max_epochs=2, random_state=0),
    SpecialistPipeline(strategy="generalist", random_state=0),
    FeatureGroupRanker(cv=3, random_state=0),
    SpecialistClassifier(encoder=SINGLE, cv=(0.6, 0.4), random_state=0),
    SpecialistRegressor(encoder=SINGLE, cv=(0.6, 0.4), random_state=0),
    TaskLocalizer(
        2,
        conditional=True,
        pooling="top_k_mean",
        smoothing=1,
        sparsity=0.0,
        max_epochs=1,
        hidden_layer_sizes=(),
        cv=2,
        random_state=0,
    ),
    TorchGeneralist(nn.Sequential(nn.Tanh(), nn.Softsign()), layers="0", batch_size=7),
    PruneThenFinetune(cv=2, max_epochs=1, random_state=0),
    RelativeRepresentation(5, selection="farthest", random_state=0),
    SpaceAligner("affine"),
    SpaceAligner("lambda"),
    SufficientReduction(method="cumulative", random_state=0),
    FeatureGroupRanker(method="shapley", n_groups=1, cv=3, max_permutations=4, random_state=0),
    SelTaskBaseline(n_iter=40, random_state=0),
    SparseAutoencoder(activation="relu", max_epochs=1, random_state=0),
    SparseAutoencoder(activation="matching_pursuit", max_epochs=1, random_state=0),
]
