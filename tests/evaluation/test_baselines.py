"""What the same identities give without the training stands beside a run's figures."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning.callbacks import LambdaCallback
from tests.helpers import assert_says, write_identities

import siamese
from siamese.data.embedding import embed
from siamese.data.samplers.base import BatchPlan
from siamese.errors import CalibrationError, ConfigError
from siamese.evaluation import baselines
from siamese.evaluation.baseline import Baseline
from siamese.evaluation.baselines import note_on_training
from siamese.evaluation.stages import fit_backbone
from siamese.inference.components import Components
from siamese.pairs.all_pairs import AllPairs
from siamese.report.tables import baselines_table
from siamese.verification.figures import gain_in_auc


@siamese.BACKBONES.register("baseline_test_net")
class Plain(siamese.Backbone):
    """Keeps no statistics: before training it is its first weights and nothing else."""

    embedding_size = 8

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, 4),
            torch.nn.ReLU(),
            torch.nn.Flatten(),
            torch.nn.Linear(512, 8),
        )

    def forward(self, images):
        return self.layers(images.float() / 255)


def module():
    siamese.seed_everything(0)
    return siamese.SiameseModule(Plain(), siamese.ContrastiveLoss(), schedule=None)


def data_of(root):
    return siamese.FolderDataModule(
        root,
        cropper=siamese.NoCropper(32),
        sampler=siamese.IdentitySampler(4, 2, steps=3),
        workers=0,
        progress=False,
    )


SETTINGS = {"policy": "eer", "pairs": "all_pairs", "plots": False, "verbose": False}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A short run with two baselines, and its data."""
    root = write_identities(tmp_path_factory.mktemp("identities"), [4] * 30)
    data, folder = data_of(root), tmp_path_factory.mktemp("runs") / "run"
    return siamese.train(module(), data, folder, max_epochs=3, **SETTINGS), data


def test_untrained_is_the_same_network_with_its_first_weights(run):
    done, data = run
    fresh = module().backbone.eval()
    (untrained,) = (b for b in done.evaluation.baselines if b.name == "untrained")
    for split in ("calibration", "test"):
        crops = data.dataset(split)
        images = np.stack([crops.image(row) for row in range(len(crops))])
        with torch.no_grad():
            embeddings = fresh(torch.from_numpy(images).permute(0, 3, 1, 2))
        pairs = siamese.measure_pairs(embeddings, crops.labels, "all_pairs")
        threshold = siamese.calibrate(embeddings, crops.labels, policy="eer", pairs="all_pairs")
        found = untrained.evaluations[split]
        expected = siamese.evaluate_pairs(pairs, found.threshold, split)
        assert found.auc == pytest.approx(expected.auc, abs=1e-6)
        assert found.confusion == expected.confusion
        if split == "calibration":  # its own threshold, not the run's
            assert found.threshold == pytest.approx(threshold.point.threshold, rel=1e-5)
            assert found.threshold != done.operating_point.threshold
        observed, low, high = untrained.gain[split]
        assert observed == pytest.approx(done.evaluations[split].auc - expected.auc, abs=1e-6)
        assert low <= high


def test_its_statistics_are_gathered_and_its_weights_stay(run):
    siamese.seed_everything(0)
    net = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8, dropout=0.5)
    before = {k: v.clone() for k, v in net.state_dict().items()}
    baselines.gather_statistics(net, run[1].dataset("train"))
    weights = dict(net.named_parameters())
    assert all(torch.equal(before[k], v) for k, v in weights.items())
    met = [k for k in before if k.endswith("num_batches_tracked")]
    assert met
    assert all(int(net.state_dict()[k]) == baselines.PASSED for k in met)
    assert net.whitening.mean.any()


def test_statistics_that_came_with_a_network_stay(run):
    data = run[1].dataset("train")
    siamese.seed_everything(0)
    came = siamese.SmallResNet(widths=(8,), depths=(1,), learned_size=8)
    baselines.gather_statistics(came, data)
    came.stem[1].running_mean += 1
    first = {k: v.clone() for k, v in came.state_dict().items()}
    baselines.gather_statistics(came, data)
    assert all(torch.equal(first[k], v) for k, v in came.state_dict().items())
    # New parts beside them see what these give at use.
    came.whitening.batches.zero_()
    came.whitening.mean.zero_()
    baselines.gather_statistics(came, data)
    kept = {k: v for k, v in came.state_dict().items() if not k.startswith("whitening")}
    assert all(torch.equal(first[k], v) for k, v in kept.items())
    _, learned = came.eval().embed_both(data[BatchPlan(np.arange(len(data)))]["image"])
    assert torch.allclose(came.whitening.mean, learned.mean(dim=0), atol=0.05)


def test_a_resumed_run_knows_whether_it_began_with_these_weights(run, tmp_path):
    done, data = run
    for number, (seed, known) in enumerate(((0, True), (7, False))):
        data = data_of(data.table("train").root)
        siamese.seed_everything(seed)
        again = siamese.SiameseModule(Plain(), siamese.ContrastiveLoss(), schedule=None)
        more = siamese.train(
            again, data, tmp_path / str(number), max_epochs=4, resume=done.folder, **SETTINGS
        )
        names = [b.name for b in more.evaluation.baselines]
        assert ("untrained" in names) == known
        if known:
            figures = [r.evaluation.baselines[0].evaluations["test"].auc for r in (done, more)]
            assert figures[0] == figures[1]


def test_whatever_happens_to_a_baseline_the_run_is_there(run, tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("siamese.training.run.beside_baselines", killed)
    data = data_of(run[1].table("train").root)
    with pytest.raises(KeyboardInterrupt):
        siamese.train(module(), data, tmp_path / "run", max_epochs=1, **SETTINGS)
    for name in ("evaluation.json", "history.csv", "bundle/bundle.json"):
        assert (tmp_path / "run" / name).is_file()


# A classifier's weights are of no use without a network's.
@pytest.mark.parametrize("loss", [siamese.ContrastiveLoss, siamese.MarginSoftmaxLoss])
def test_what_is_fitted_in_closed_form_alone_needs_no_training(run, tmp_path, loss):
    data = data_of(run[1].table("train").root)
    net = siamese.SiameseModule(siamese.DescriptorNet(components=12), loss())
    done = siamese.train(net, data, tmp_path / "run", max_epochs=1, **SETTINGS)
    (beside,) = done.evaluation.baselines  # there is no "before training"
    assert beside.name == "descriptors"
    assert siamese.Bundle.load(done.folder).backbone.discriminant.fitted
    assert done.operating_point.epoch is None


def test_a_second_training_knows_no_descriptors_of_the_first(run, tmp_path):
    data = data_of(run[1].table("train").root)
    twice = siamese.SiameseModule(siamese.DescribedNet(Plain(), 6), siamese.ContrastiveLoss())
    fitted = []
    seen = LambdaCallback(
        on_validation_start=lambda _, module: fitted.append(
            bool(module.backbone.descriptors.discriminant.fitted)
        )
    )
    settings = SETTINGS | {"baselines": (), "callbacks": [seen]}
    for number in range(2):
        siamese.train(twice, data, tmp_path / str(number), max_epochs=1, **settings)
        assert twice.backbone.descriptors.discriminant.fitted
    assert fitted == [False, False]


@pytest.mark.parametrize(
    ("augmentation", "mirrored"),
    [(siamese.Augmentation(), True), (siamese.Augmentation(flip=0), False), (None, False)],
)
def test_descriptors_are_mirrored_where_training_is(run, augmentation, mirrored):
    parts = Components(Plain(), siamese.EuclideanDistance(), siamese.NoCropper(32), augmentation)
    made, _ = baselines._prepared("descriptors", run[0].evaluation, parts, None)
    assert made.backbone.mirror == mirrored


def test_a_second_training_fits_the_distance_anew(run, tmp_path):
    data = data_of(run[1].table("train").root)
    twice = module()
    twice.distance = siamese.PldaDistance()
    settings = SETTINGS | {"baselines": (), "pairs": "all_pairs"}
    first = siamese.train(twice, data, tmp_path / "first", max_epochs=1, **settings)
    second = siamese.train(twice, data, tmp_path / "second", max_epochs=2, **settings)
    fits = [r.evaluation.bundle.distance.whitening for r in (first, second)]
    assert not torch.equal(*fits)
    train = data.dataset("train")
    again = siamese.PldaDistance.fit(embed(twice.backbone, train), train.labels)
    assert torch.equal(again.whitening, fits[1])


def test_all_stand_in_the_run_s_folder(run):
    done, _ = run
    figures = json.loads((done.folder / "evaluation.json").read_text())
    assert "baselines" not in figures["train"]
    for split in ("calibration", "test"):
        beside = figures[split]["baselines"]
        assert list(beside) == ["untrained", "descriptors"]
        assert all({"auc", "f1", "ci95", "gain_in_auc"} <= set(b) for b in beside.values())
        # The pictures differ only in smooth colours: descriptors tell many apart.
        assert beside["descriptors"]["auc"] != beside["untrained"]["auc"]
    assert done.evaluation.notes[0].startswith(("training", "whether training"))


def test_accepting_everything_is_what_counting_says(run):
    figures = run[0].evaluations["test"]
    everything = siamese.evaluate_pairs(run[0].evaluation.distances["test"], 1e9)
    assert figures.one_verdict["f1"] == pytest.approx(everything.f1)
    refused = everything.impostor / (everything.genuine + everything.impostor)
    assert figures.one_verdict["accuracy"] == pytest.approx(refused)
    balanced = SimpleNamespace(at_prevalence={}, prevalence=0.5)
    known = siamese.SplitEvaluation.one_verdict.fget(balanced)
    assert known == pytest.approx({"prevalence": 0.5, "f1": 2 / 3, "accuracy": 0.5})


def clusters(noise, seed=0):
    """Distances among 40 identities of 4 images, which noise makes hard to tell apart."""
    rng = np.random.default_rng(seed)
    who = np.arange(160) // 4
    x = rng.normal(size=(40, 6))[who] + noise * rng.normal(size=(160, 6))
    return siamese.measure_pairs(x.astype(np.float32), who, AllPairs())


def test_the_gain_of_the_same_distances_is_nothing():
    assert gain_in_auc(clusters(1.0), clusters(1.0)) == (0, 0)


def test_the_gain_has_the_sign_of_the_difference_and_reverses():
    good, poor = clusters(0.4), clusters(1.5, 1)
    low, high = gain_in_auc(good, poor)
    assert 0 < low < high < 0.5
    back = gain_in_auc(poor, good)
    assert back == pytest.approx((-high, -low), abs=1e-9)
    observed = siamese.evaluate_pairs(good, 1.0).auc - siamese.evaluate_pairs(poor, 1.0).auc
    assert low <= observed <= high


def test_the_gain_is_surer_than_two_intervals_say():
    """Nearly the same distances: both areas vary much, their difference hardly."""
    one = clusters(1.5)
    rng = np.random.default_rng(3)
    shaken = siamese.HeldDistances(
        one.pairs,
        (one.distances * (1 + 0.01 * rng.normal(size=len(one.distances)))).astype(np.float32),
        one.labels,
        one.distance,
        one.pair_rule,
    )
    low, high = gain_in_auc(one, shaken)
    own = siamese.evaluate_pairs(one, 1.0).ci95["auc"]
    assert high - low < 0.2 * (own[1] - own[0])


def test_few_identities_without_an_error_are_not_sure_of_a_gain():
    def eight(noise):
        rng = np.random.default_rng(0)
        who = np.arange(80) // 10
        x = 3 * rng.normal(size=(8, 6))[who] + noise * rng.normal(size=(80, 6))
        return siamese.measure_pairs(x.astype(np.float32), who, AllPairs())

    perfect, nearly = eight(0.01), eight(0.9)
    areas = [siamese.evaluate_pairs(d, 1.0).auc for d in (perfect, nearly)]
    assert areas[0] == 1
    assert 0.98 < areas[1] < 1
    low, high = gain_in_auc(perfect, nearly)
    assert low < 0 < high
    assert gain_in_auc(perfect, perfect) == (0, 0)


def test_other_pairs_cannot_be_compared():
    few = siamese.measure_pairs(np.eye(8, dtype=np.float32), np.arange(8) // 2, AllPairs())
    with pytest.raises(CalibrationError, match="same pairs"):
        gain_in_auc(clusters(1.0), few)


@pytest.mark.parametrize(
    ("gain", "said"),
    [
        ((0.05, 0.01, 0.09), "training helped"),
        ((0.05, -0.01, 0.09), "not certain"),
        ((-0.05, -0.09, -0.01), "did harm"),
        ((0.05, None, None), "not certain"),
    ],
)
def test_a_sentence_says_whether_training_helped(gain, said):
    figures = SimpleNamespace(auc=0.9)
    run = SimpleNamespace(
        evaluations={"test": figures},
        baselines=(
            Baseline("untrained", {"test": figures}, {"test": gain}),
            Baseline("descriptors", {"test": figures}, {"test": (-0.1, -0.2, -0.05)}),
            Baseline("pretrained", {"test": figures}, {"test": (0.1, -0.2, 0.3)}),
        ),
    )
    note = note_on_training(run)
    assert_says(note, said, "worse than fixed descriptors", "not shown to differ from dlib")
    run.baselines = run.baselines[1:]
    assert note_on_training(run) is None


def test_unknown_names_are_refused_at_once():
    with pytest.raises(ConfigError) as caught:
        siamese.train(None, None, "nowhere", baselines=["untraind"])
    assert_says(caught.value, "did you mean 'untrained'")
    with pytest.raises(ConfigError, match="list"):
        baselines.check_baselines("untrained")
    assert baselines.check_baselines(["untrained", "untrained"]) == ("untrained",)


def test_a_baseline_that_fails_is_a_note_and_no_end(run, monkeypatch):
    def fails(*_):
        raise MemoryError("too many images")

    monkeypatch.setattr(baselines, "conclude", fails)
    done = run[0].evaluation
    beside = baselines.beside_baselines(["untrained"], done, done.bundle.components, siamese.Eer())
    assert beside.baselines == ()
    assert_says(beside.notes[-1], "before training", "too many images")


def test_of_very_many_images_descriptors_are_left_out(run, monkeypatch):
    monkeypatch.setattr(baselines, "DESCRIBED", 119)
    done = run[0].evaluation
    assert sum(len(data) for data in done.data.datasets.values()) == 120
    beside = baselines.beside_baselines(
        ["descriptors"], done, done.bundle.components, siamese.Eer()
    )
    assert beside.baselines == ()
    assert_says(beside.notes[-1], "fixed descriptors", "120 images", "descriptor_net")


def test_descriptors_are_computed_once_for_all_that_is_measured(run, monkeypatch):
    """They lie beside the crops: a second look at the same images counts nothing."""
    _, data = run
    crops = data.dataset("train")
    assert crops.cache is not None
    assert (crops.cache / "descriptors").is_dir()
    net = siamese.DescriptorNet(components=5)
    monkeypatch.setattr(net, "_count", lambda _: pytest.fail("counted again"))
    fit_backbone(net, crops)
    assert embed(net, data.dataset("test")).shape == (len(data.dataset("test")), 5)


def test_a_fingerprint_tells_weights_apart_whatever_their_precision():
    def of(backbone):
        parts = siamese.PldaDistance(), siamese.NoCropper(32)
        return baselines.fingerprint(Components(backbone, *parts))

    one, other = module().backbone, module().backbone
    assert of(one) == of(other)
    with torch.no_grad():
        next(other.parameters()).flatten()[0] += 1
    assert of(one) != of(other)
    assert len(of(one.bfloat16())) == 64


@pytest.mark.parametrize("stated", [None, 0.5])
def test_what_stands_beside_a_run_is_of_its_prevalence(stated):
    distances = clusters(0.5)
    threshold = float(np.quantile(distances.curve().thresholds, 0.1))
    found = siamese.evaluate_pairs(distances, threshold, prevalence=stated)
    table = baselines_table(found, {"another": found})
    shown = [[cell.split(" ")[0] for cell in column._cells] for column in table.columns]
    of = dict(zip(*(shown[0], zip(*shown[1:], strict=True)), strict=False))
    share = stated or distances.genuine / (distances.genuine + distances.impostor)
    recall, fmr = found.recall, found.fmr
    f1 = 2 * recall * share / (recall * share + fmr * (1 - share) + share)
    accuracy = recall * share + (1 - fmr) * (1 - share)
    for name in ("this", "another"):
        assert of[name][2:] == (f"{f1:.3f}", f"{accuracy:.3f}")
    assert of["one"][2:] == (f"{2 * share / (1 + share):.3f}", f"{max(share, 1 - share):.3f}")
    assert f"at a prevalence of {share:.3g}" in table.caption


def test_the_card_of_the_runs_bundle_has_them_beside_its_figures(run):
    done, _ = run
    card = (done.bundle / "README.md").read_text()
    tested = card.partition("## Figures on people")[2]
    row = next(line for line in tested.splitlines() if line.startswith("| ROC AUC |"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    auc = {b.name: b.evaluations["test"].auc for b in done.evaluation.baselines}
    assert cells[1].startswith(f"{done.evaluations['test'].auc:.3f} (")
    for name, place in (("untrained", 3), ("descriptors", 4)):
        shown = f"{auc[name]:.3f} (" if name in auc else "not measured"
        assert cells[place].startswith(shown)
    assert cells[5] == "not measured"
    assert siamese.Bundle.load(done.bundle).card == card
    table = done.evaluation.data.prepared.splits["test"].table
    assert f"| test | {len(table.distinct_identities)} | {len(table)} |" in card
