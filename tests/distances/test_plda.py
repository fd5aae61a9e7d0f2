"""PLDA against the joint Gaussian written out, on data of a known model, and as a distance."""

import json
import warnings

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.metrics import roc_auc_score
from tests.helpers import assert_says

import siamese
from siamese.backbones.small_res_net import SmallResNet
from siamese.distances import shrinkage
from siamese.distances.base import DISTANCES
from siamese.distances.cosine import CosineDistance
from siamese.distances.euclidean import EuclideanDistance
from siamese.distances.plda import PldaDistance
from siamese.distances.shrinkage import fit_by_leaving_out
from siamese.distances.two_covariances import Fitting, Groups, to_unit_length
from siamese.errors import CalibrationError, ConfigError
from siamese.faces.croppers.none import NoCropper
from siamese.inference.components import Components
from siamese.pairs.all_pairs import AllPairs
from siamese.verification.measure import measure_pairs


def world(d, seed=0, mean=3.0):
    """A mean, and factors of the covariances within identities and between them."""
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0]
    other = np.linalg.qr(rng.normal(size=(d, d)))[0]
    within = np.linspace(0.3, 2.0, d) * turn
    between = np.geomspace(3.0, 0.1, d) * other
    return rng.normal(size=d) * mean, within.T, between.T


def drawn(world, sizes, seed):
    """(N, D) embeddings of invented identities with so many images each, and (N,) labels."""
    mean, within, between = world
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(sizes)), sizes)
    places = rng.normal(size=(len(sizes), len(mean))) @ between
    return mean + places[labels] + rng.normal(size=(len(labels), len(mean))) @ within, labels


@pytest.fixture(scope="module")
def fitted():
    return PldaDistance.fit(*drawn(world(12), [4] * 60 + [1] * 20, 1), shrinkage=0.1)


def some(n, d=12, seed=5):
    x, labels = drawn(world(d), [5] * (n // 5), seed)
    return torch.tensor(x, dtype=torch.float32), labels


def test_the_ratio_is_that_of_the_joint_gaussian_written_out():
    x, labels = drawn(world(4), [5] * 40, 1)
    model, _ = fit_by_leaving_out(x, labels, 0.2)
    distance = PldaDistance.fit(x, labels, shrinkage=0.2)
    new, _ = drawn(world(4), [2] * 30, 2)
    points = to_unit_length((new - model.mean) @ model.whitening)
    back = np.linalg.inv(model.latent)
    within, between = back.T @ back, back.T @ np.diag(model.spread) @ back
    one = within + between
    same = multivariate_normal(np.tile(model.centre, 2), np.block([[one, between], [between, one]]))
    single = multivariate_normal(model.centre, one)
    for i, j in ((0, 1), (0, 2), (7, 30), (5, 5)):
        a, b = points[i], points[j]
        dense = same.logpdf(np.append(a, b)) - single.logpdf(a) - single.logpdf(b)
        rows = torch.from_numpy(new[[i, j]])
        found = distance.ratios(distance.measure(rows[:1], rows[1:]))
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(model.scale * dense + model.shift, abs=2e-5)
        assert model.ratios(new)[i, j] == pytest.approx(found.item(), abs=2e-5)


def test_moments_are_unbiased_whoever_has_how_many_images():
    true = mean, within, between = world(3)
    sizes, found = [1, 1, 2, 3, 15], []
    for seed in range(3000):
        x, labels = drawn(true, sizes, seed)
        found.append(np.concatenate([part.ravel() for part in Groups(labels).moments(x)]))
    expected = np.concatenate([mean, (within.T @ within).ravel(), (between.T @ between).ravel()])
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - expected) < 4 * error).all()
    # Two of fifteen images more count little: an identity counts as ten of its images.
    x, labels = drawn(true, [15, 15], 0)
    repeated = Groups(labels).moments(x)[1]
    alone = [np.cov(x[labels == k].T) for k in (0, 1)]
    assert np.allclose(repeated, np.mean(alone, axis=0))


def test_an_identity_with_many_images_counts_as_ten_of_them():
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(1010, 2)), np.repeat([0, 1], [1000, 10])
    x[labels == 1] *= 3
    within = Groups(labels).moments(x)[1]
    many, few = (np.cov(x[labels == k].T) for k in (0, 1))
    # Ten of a thousand images each, with 9.99 and 9 degrees of freedom.
    assert np.allclose(within, (9.99 * many + 9 * few) / 18.99)


def hard_world(d, apart=0.5):
    """Images of one identity differ most in a few directions, as with networks; identities, too."""
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(d, d)))[0].T
    spectrum = (1 / np.sqrt(1 + np.arange(d)))[:, None]
    return np.zeros(d), spectrum * turn, apart * spectrum * turn


def area(distance, x, labels):
    pairs = AllPairs()(labels)
    found = distance.between(torch.tensor(x), pairs.left, pairs.right)
    return roc_auc_score(pairs.same, -found)


def test_on_data_of_the_model_it_errs_nearly_as_rarely_as_the_true_one():
    true = _, within, between = hard_world(48, 1.0)
    distance = PldaDistance.fit(*drawn(true, [4] * 600 + [1] * 100, 3))
    x, labels = drawn(true, [3] * 150, 4)
    w, b = within.T @ within, between.T @ between
    joint = np.linalg.inv(np.block([[w + b, b], [b, w + b]]))
    alone = np.linalg.inv(w + b)
    own, cross = (part - minus for part, minus in ((joint[:48, :48], alone), (joint[:48, 48:], 0)))
    squares = np.einsum("ni,ij,nj->n", x, own, x)
    true_ratios = -(squares[:, None] + squares[None] + 2 * x @ cross @ x.T)
    pairs = AllPairs()(labels)
    ideal = roc_auc_score(pairs.same, true_ratios[pairs.left, pairs.right])
    found = area(distance, x, labels)
    assert 1 - found < 2 * (1 - ideal)
    plain = max(area(d, x, labels) for d in (EuclideanDistance(), CosineDistance()))
    assert 1 - plain > 5 * (1 - found)


def test_24_people_in_256_numbers_are_served_as_well_as_by_cosine_after_whitening():
    x, labels = drawn(hard_world(256), [10] * 24, 1)
    new, who = drawn(hard_world(256), [4] * 60, 2)
    chosen = area(PldaDistance.fit(x, labels), new, who)
    model = Fitting(x, labels).model(1.0, centred=True)
    whitened = area(CosineDistance(), (new - model.mean) @ model.whitening, who)
    assert chosen > whitened - 0.002
    assert chosen > area(CosineDistance(), new, who) + 0.2
    # With hardly any shrinkage it is worse, so it is the choice that does it.
    assert chosen > area(PldaDistance.fit(x, labels, shrinkage=0.02), new, who) + 0.1


def test_embeddings_are_centred_where_that_tells_identities_apart():
    x, labels = drawn(hard_world(32, 1.0), [4] * 80, 1)
    rng = np.random.default_rng(0)
    far = 30.0 * (np.arange(32) == 0)
    # Lengths that mean nothing, measured from a point far from the origin.
    stretched = far + x * np.exp(rng.normal(size=len(x)))[:, None]
    assert fit_by_leaving_out(stretched, labels)[0].mean.any()
    # Lengths that mean nothing, measured from the origin.
    gains = np.exp(rng.normal(size=len(x)))[:, None]
    assert not fit_by_leaving_out((far + x) * gains, labels)[0].mean.any()


def cost(same, ratios):
    """The log-likelihood ratio cost in bits; 1 for ratios that say nothing."""
    genuine, impostor = np.logaddexp(0, -ratios[same]), np.logaddexp(0, ratios[~same])
    return (genuine.mean() + impostor.mean()) / 2 / np.log(2)


def test_ratios_of_strangers_promise_what_they_keep():
    x, labels = drawn(hard_world(64, 0.8), [6] * 60, 1)
    new, who = drawn(hard_world(64, 0.8), [4] * 60, 2)
    distance = PldaDistance.fit(x, labels, shrinkage=0.1)
    pairs = AllPairs()(who)
    ratios = distance.ratios(distance.between(torch.tensor(new), pairs.left, pairs.right))
    model, used = fit_by_leaving_out(x, labels, 0.1)
    assert used == 0.1
    raw = (ratios - model.shift) / model.scale
    found, without = (cost(pairs.same, r.astype(float)) for r in (ratios, raw))
    assert found < 0.5
    assert without > 1.5 * found


def test_it_is_a_distance(fitted):
    x, _ = some(60)
    d = fitted.matrix(x, x)
    assert d.dtype == torch.float32
    assert torch.equal(d, d.T)
    assert (d >= 0).all()
    assert torch.equal(d, fitted.measure(x.repeat_interleave(60, 0), x.repeat(60, 1)).view(60, 60))
    assert torch.equal(fitted.matrix(x[:7] * 1e3 + 0, x).isfinite(), torch.ones(7, 60).bool())


def test_no_ratio_is_above_the_offset_and_the_bound_is_not_idle(fitted):
    weighted = fitted.latent.double() * fitted.latent_scale * fitted.weights.sqrt()
    left, _, _ = torch.linalg.svd(weighted)
    terms = []
    for sign in (1, -1):
        points = torch.linalg.solve(fitted.whitening.double().T, sign * left.T.T[:, 0])
        rows = fitted.rows((fitted.mean + points)[None])
        terms.append(float(fitted.ceiling - (rows.square() * fitted.weights).sum()))
    assert min(terms) >= 0
    assert min(terms) < 0.2 * float(fitted.ceiling)


def test_a_pair_does_not_depend_on_its_company_layout_or_threads(fitted):
    """Looked at in float64: rounding to float32 hides a last bit nearly always, but not always."""
    x, labels = drawn(world(130), [3] * 50, 1)
    wide = PldaDistance.fit(x, labels, shrinkage=0.5)
    rows = torch.tensor(x, dtype=torch.float32)

    def seen(x):
        points = wide.rows(x)
        return torch.cat([points, wide.row_terms(points)[:, None]], dim=1)

    together = seen(rows)
    assert together.dtype == torch.float64
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            for size in (1, 2, 7, 64):
                assert torch.equal(torch.cat([seen(p) for p in rows.split(size)]), together)
            assert torch.equal(seen(rows.T.contiguous().T), together)
    finally:
        torch.set_num_threads(before)


def test_what_is_differentiated_is_what_is_measured(fitted):
    x, _ = some(40)
    a, b = x[:20].clone().requires_grad_(), x[20:]
    found = fitted(a, b)
    assert found.dtype == torch.float32
    assert torch.allclose(found, fitted.measure(a, b), atol=1e-4)
    found.sum().backward()
    grad = a.grad
    a = a.detach()
    step = torch.randn(a.shape, generator=torch.Generator().manual_seed(0)) * 1e-4
    up, down = (fitted(a.double() + s * step.double(), b.double()) for s in (1, -1))
    rise = float((up - down).sum())
    assert float((grad * step).sum()) == pytest.approx(rise / 2, rel=1e-3)
    same = x[:3].clone().requires_grad_()
    fitted(same, same.detach()).sum().backward()
    assert same.grad.isfinite().all()


def test_a_description_and_its_weights_give_the_same_distances(fitted):
    x, _ = some(20)
    parts = Components(SmallResNet(widths=(8,), depths=(1,)), fitted, NoCropper(32))
    description = json.loads(json.dumps(parts.describe()))
    assert description["distance"] == {"name": "plda", "shrinkage": 0.1, "embedding_size": 12}
    again = Components.build(description)
    assert not again.distance.is_fitted
    again.load_tensors(parts.tensors())
    assert torch.equal(again.distance.matrix(x, x), fitted.matrix(x, x))
    assert "shrinkage=0.1" in repr(again.distance)


def test_the_state_of_a_fitted_one_is_loaded_into_a_new_one_alone_or_as_a_part(fitted):
    x, _ = some(20)
    whole = torch.nn.ModuleDict({"distance": PldaDistance()})
    whole.load_state_dict({f"distance.{k}": v for k, v in fitted.state_dict().items()})
    alone = PldaDistance()
    alone.load_state_dict(fitted.state_dict())
    for again in (alone, whole["distance"]):
        assert torch.equal(again.matrix(x, x), fitted.matrix(x, x))
        assert DISTANCES.settings(again)["embedding_size"] == 12
        assert list(again.state_dict()) == list(PldaDistance().state_dict())
    alone.load_state_dict(fitted.state_dict())
    plain = PldaDistance()
    plain.load_state_dict(PldaDistance().state_dict())
    assert (plain.embedding_size, plain.needs_fit) == (None, True)


def test_a_state_of_another_length_is_refused_in_one_line(fitted):
    part = torch.nn.ModuleDict({"distance": PldaDistance(embedding_size=8)})
    with pytest.raises(RuntimeError) as error:
        part.load_state_dict({f"distance.{k}": v for k, v in fitted.state_dict().items()})
    (line,) = str(error.value).splitlines()[1:]
    assert_says(line, "PLDA distance distance is", "8 numbers", "PldaDistance(embedding_size=12)")
    with pytest.raises(RuntimeError, match=r"that of one that is not fitted.*PldaDistance\(\)"):
        fitted.load_state_dict(PldaDistance().state_dict())


def test_until_it_is_fitted_it_measures_as_the_euclidean_distance():
    rows, labels = some(30)
    for form in ("measure", "forward"):
        found = [
            getattr(d, form)(rows[:9], rows[9:18]) for d in (PldaDistance(), EuclideanDistance())
        ]
        assert torch.equal(*found)
    counts = [
        measure_pairs(rows, labels, limit=5, distance=d, to_be_fitted=True).choose(siamese.MaxF1())
        for d in (PldaDistance(), EuclideanDistance())
    ]
    assert counts[0] == counts[1]
    assert "not fitted" in repr(PldaDistance())
    with pytest.raises(ConfigError, match="not fitted"):
        PldaDistance().ratios(0.3)


def test_it_is_of_closed_form_fitted_or_not(fitted):
    found = [(d.closed_form, d.needs_fit) for d in (fitted, PldaDistance(), EuclideanDistance())]
    assert found == [(True, False), (True, True), (False, False)]


@pytest.mark.parametrize("unfitted", ["plda", PldaDistance(0.5)])
def test_nothing_is_concluded_before_it_is_fitted(unfitted):
    rows, labels = some(30)
    for call in (
        lambda: siamese.calibrate(rows, labels, distance=unfitted),
        lambda: siamese.ThresholdCalibrator(distance=unfitted),
        lambda: siamese.VerificationThreshold(distance=unfitted),
        lambda: siamese.measure_pairs(rows, labels, distance=unfitted),
    ):
        with pytest.raises(ConfigError) as error:
            call()
        assert_says(error.value, "plda", "siamese.PldaDistance.fit(embeddings, identities)")


def test_a_module_is_made_with_one_that_the_run_will_fit():
    module = siamese.SiameseModule("small_res_net", siamese.ContrastiveLoss(), "plda")
    assert isinstance(module.distance, PldaDistance)


def test_it_is_fitted_to_what_calibrate_takes():
    x, labels = drawn(world(5), [3] * 20, 1)
    names = [f"person {k:02d}" for k in labels]
    shuffled = np.random.default_rng(0).permutation(len(labels))
    kinds = [
        PldaDistance.fit(x, labels, shrinkage=0.3),
        PldaDistance.fit(torch.tensor(x), torch.tensor(labels), shrinkage=0.3),
        PldaDistance.fit(x.tolist(), names, shrinkage=0.3),
        PldaDistance.fit(x * 1e200, labels, shrinkage=0.3),
    ]
    rows = torch.tensor(x)
    expected = kinds[0].matrix(rows, rows)
    assert torch.equal(kinds[1].matrix(rows, rows), expected)
    assert torch.allclose(kinds[2].matrix(rows, rows), expected, atol=0.02)
    assert torch.allclose(kinds[3].matrix(rows * 1e200, rows * 1e200), expected, atol=1e-3)
    again = PldaDistance.fit(x[shuffled], labels[shuffled], shrinkage=0.3)
    assert torch.allclose(again.matrix(rows, rows), expected, atol=0.02)
    assert again.used_shrinkage == 0.3
    found = siamese.calibrate(rows, labels, distance=kinds[0])
    assert found.point.distance == "plda"


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda x, y: (x, np.arange(len(y))), CalibrationError, ("0 of 30", "at least two")),
        (lambda x, y: (x, np.zeros(len(y), int)), CalibrationError, ("1 of 1 ", "cosine")),
        (lambda x, y: (x * np.nan, y), CalibrationError, ("NaN", "row 0")),
        (lambda x, y: (x[:5], y), CalibrationError, ("5 embeddings",)),
        (lambda x, y: (x[y * 3], y), CalibrationError, ("same embedding", "different images")),
        (
            lambda x, y: ([[1.0], [1.1], [5.0], [5.1]], [0, 0, 1, 1]),
            CalibrationError,
            ("one direction", "distance=euclidean"),
        ),
        (lambda x, y: (np.zeros((30, 5000)), y), ConfigError, ("4,096", "principal components")),
    ],
)
def test_what_it_cannot_be_fitted_to_is_refused_with_a_remedy(change, error, words):
    x, labels = drawn(world(6), [3] * 10, 1)
    with pytest.raises(error) as raised:
        PldaDistance.fit(*change(x, labels))
    assert_says(raised.value, *words)


def test_few_people_are_fitted_without_any_left_out():
    x, labels = drawn(world(6), [2, 2, 1], 1)
    found = PldaDistance.fit(x, labels)
    assert found.used_shrinkage == 0.9
    assert found.matrix(torch.tensor(x), torch.tensor(x)).isfinite().all()
    x, labels = drawn(world(6), [3] * 4, 1)
    assert PldaDistance.fit(x, labels).matrix(torch.tensor(x), torch.tensor(x)).isfinite().all()


def said_of_a_fit_to(sizes):
    """The warnings of a fit to identities with so many images each."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        PldaDistance.fit(*drawn(world(6), sizes, 1), shrinkage=0.5)
    return heard


def test_a_fit_to_a_few_people_is_warned_of_and_one_to_24_is_not():
    """A training run on ORL has 24 people; one image tells nothing of how images differ."""
    assert said_of_a_fit_to([10] * 24) == []
    assert said_of_a_fit_to([2] * 20) == []
    (warning,) = said_of_a_fit_to([2] * 19 + [1] * 30)
    assert_says(str(warning.message), "fitted to 19 identities with two images", "better 100")
    assert warning.filename == __file__
    assert said_of_a_fit_to([2, 2]) == []  # it was said


def test_one_number_is_enough():
    """Of positive ones unit length leaves nothing, unless they lie on either side of a mean."""
    x, labels = drawn(world(1), [3] * 30, 1)
    found = PldaDistance.fit(np.exp(x), labels)
    assert found.mean.any()
    assert found.matrix(torch.tensor(np.exp(x)), torch.tensor(np.exp(x))).isfinite().all()


def test_people_are_not_left_out_where_only_one_persons_images_differ():
    """Without that person nothing is known of how images differ; with all people, something is."""
    x, labels = drawn(world(6), [3] * 20, 1)
    still = x[labels * 3]
    still[labels == 7] = x[labels == 7]
    found = PldaDistance.fit(still, labels)
    assert found.used_shrinkage == 0.9
    assert found.matrix(torch.tensor(x), torch.tensor(x)).isfinite().all()


def test_settings_and_embeddings_out_of_range_are_refused(fitted):
    for amount in (0, -1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="above 0 and at most 1"):
            PldaDistance(amount)
    with pytest.raises(ConfigError, match="embedding_size must be 1 to 4,096"):
        PldaDistance(embedding_size=0)
    for form in (fitted, fitted.measure):
        with pytest.raises(ConfigError, match=r"12 numbers, these have 3"):
            form(torch.zeros(2, 3), torch.zeros(2, 3))
    assert DISTANCES.settings(PldaDistance(0.5)) == {
        "name": "plda",
        "shrinkage": 0.5,
        "embedding_size": None,
    }


@pytest.fixture
def seen(monkeypatch):
    """(rows, numbers) of the embeddings of every :class:`Fitting`, in order."""
    shapes, begin = [], Fitting.__init__

    def spy(self, embeddings, labels):
        shapes.append(embeddings.shape)
        begin(self, embeddings, labels)

    monkeypatch.setattr(Fitting, "__init__", spy)
    return shapes


@pytest.fixture
def decomposed(monkeypatch):
    """Side lengths of all matrices whose eigenvectors are computed, in order."""
    sides, eigh = [], np.linalg.eigh
    monkeypatch.setattr(np.linalg, "eigh", lambda a: sides.append(len(a)) or eigh(a))
    return sides


def test_what_the_choice_computes_is_bounded(seen, decomposed):
    # Identities are left out once. Two models are made at the middle, four more at most: one above,
    # three below.
    x, labels = drawn(world(8), [2] * 3000, 1)
    PldaDistance.fit(x, labels)
    assert seen == [(4800, 8), (6000, 8)]
    assert len(decomposed) <= 1 + 2 * 6 + 3
    # Five folds of a few; where the shrinkage is given, it alone is tried, centred and not.
    seen.clear()
    decomposed.clear()
    PldaDistance.fit(*drawn(world(8), [4] * 20, 1), shrinkage=0.25)
    assert seen == [(64, 8)] * 5 + [(80, 8)]
    assert len(decomposed) == 5 * (1 + 2 * 2) + 3


def test_of_long_embeddings_half_of_the_components_are_tried(monkeypatch, seen):
    monkeypatch.setattr(shrinkage, "COMPONENTS", 20)
    x, labels = drawn(hard_world(64), [6] * 40, 1)
    largest = np.linalg.svd(x, compute_uv=False)[:32]
    assert (shrinkage._leading(x) ** 2).sum() == pytest.approx((largest**2).sum())
    short, _ = fit_by_leaving_out(x, labels)
    assert {size for _, size in seen[:-1]} == {32}
    assert seen[-1] == (240, 64)
    monkeypatch.setattr(shrinkage, "COMPONENTS", 64)
    whole, _ = fit_by_leaving_out(x, labels)
    assert seen[-2][1] == 64
    new, who = drawn(hard_world(64), [4] * 60, 2)
    i, j = np.triu_indices(len(new), 1)
    areas = [roc_auc_score(who[i] == who[j], m.ratios(new)[i, j]) for m in (short, whole)]
    assert areas[0] > areas[1] - 0.005


def test_the_amount_is_the_best_of_all_on_each_side_of_the_middle():
    """Against a search that tries every amount, where few and where much shrinkage is best."""
    best = []
    for true, sizes in ((world(8), [8] * 200), (hard_world(48), [3] * 20)):
        x, labels = drawn(true, sizes, 1)
        model, used = fit_by_leaving_out(x, labels)
        rows, who = shrinkage._joined(x, shrinkage._by_identity(labels))
        trials = shrinkage._Trials(shrinkage._folds(rows, who))
        areas = [trials.area(a, bool(model.mean.any())) for a in shrinkage.AMOUNTS]
        assert trials.area(used, bool(model.mean.any())) == max(areas)
        best.append(used)
    assert min(best) < 0.5 < max(best)


def test_nobodys_many_images_crowd_others_out_of_the_choice(seen):
    """With one of 25,000 images first, two identities remained, and nothing could be chosen."""
    x, labels = drawn(world(4), [25_000] + [10] * 39, 1)
    _, used = fit_by_leaving_out(x, labels)
    assert used in shrinkage.AMOUNTS
    most = 20_000 - 390
    assert sorted(map(len, shrinkage._by_identity(labels)))[-2:] == [10, most]
    assert seen[-1] == (25_390, 4)
    assert len(seen) == 6  # five folds, and all


def test_a_device_without_float64_is_refused_with_a_remedy(fitted):
    """As PyTorch answers for ``mps``, which no machine of a test need have."""

    def move(tensor):
        if tensor.dtype == torch.float64:
            raise TypeError("Cannot convert a MPS Tensor to float64 dtype; use float32 instead.")
        return tensor

    with pytest.raises(ConfigError) as error:
        torch.nn.Sequential(fitted)._apply(move)
    assert_says(error.value, "PLDA", "mps", "device=cpu")
    assert fitted.to("cpu") is fitted


def test_of_very_many_rows_some_are_chosen_on(seen):
    x, labels = drawn(world(2), [2] * 12_000, 1)
    fit_by_leaving_out(x, labels)
    assert seen == [(16_000, 2), (24_000, 2)]
