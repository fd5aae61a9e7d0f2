"""Pictures of an evaluation and of verdicts, as figures."""

import pytest
from tests.helpers import assert_says, write_identities

import siamese
from siamese.inference.pair_verdicts import PairVerdict


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    data = siamese.FolderDataModule(
        write_identities(folder / "people", [4] * 12),
        cropper=siamese.NoCropper(size=32),
        cache=folder / "cache",
        workers=0,
        progress=False,
    )
    module = siamese.SiameseModule(siamese.DescriptorNet(components=4), siamese.ContrastiveLoss())
    return siamese.train(
        module, data, folder / "run", max_epochs=1, baselines=(), plots=False, verbose=False
    )


def text_of(figure):
    """All that is written on a figure."""
    found = [figure.get_suptitle()]
    for axes in figure.axes:
        found += [axes.get_title(), *(text.get_text() for text in axes.texts)]
    return "\n".join(found)


def test_every_picture_of_a_run_can_be_had(run):
    for name in ("distances", "curves", "reliability"):
        assert len(run.evaluation.plot(name).axes) > 1
    assert "test" in text_of(run.evaluation.plot("distances"))
    few = run.evaluation.plot("samples", "calibration", count=3)
    assert len(few.axes) == 3
    assert text_of(few).startswith("calibration")


def test_what_is_not_there_is_named(run):
    for given, says in (
        (("distance",), "'distances'"),
        (("samples", "tset"), "'test'"),
        (("groups",), "no column of groups"),
    ):
        with pytest.raises(siamese.ConfigError) as error:
            run.evaluation.plot(*given)
        assert_says(error.value, says)


def test_verdicts_stand_above_their_pairs(run):
    files = run.evaluation.data.prepared.splits["test"].table.paths
    pairs = [(files[0], files[1]), (files[0], files[-1]), (files[0], "no.png")]
    verdicts = run.verifier.verify_pairs(pairs, progress=False)
    figure = siamese.plot_verdicts(verdicts)
    first, second, failed = figure.axes
    for axes, pair in zip((first, second), verdicts, strict=False):
        found = pair.verification
        said = "same" if found.same else "different"
        assert axes.get_title().startswith(f"{found.distance:.3f} {said}, P ")
        assert (axes.spines["top"].get_linestyle() == "-") == found.same
    names = [text.get_text() for text in first.texts]
    assert names == [
        f"{files[0].parent.name}/{files[0].name}",
        f"{files[1].parent.name}/{files[1].name}",
    ]
    assert "no such file" in text_of(figure)
    assert not failed.images
    for wrong in ([], [PairVerdict("a", "b")] * 41):
        with pytest.raises(siamese.ConfigError) as error:
            siamese.plot_verdicts(wrong)
        assert_says(error.value, "1 to 40 pairs")
