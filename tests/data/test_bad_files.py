"""A folder of a hundred kinds of files: each is used or left out with a reason, and none hangs."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tests.faces.bad_files import BAD, SOUND, write_files
from tests.helpers import assert_says, write_identities
from tests.inference.test_bundle import bundle

from siamese.data.datamodule import ImageDataModule
from siamese.data.prepared import PreparedData
from siamese.datasets.identities import IdentityTable
from siamese.errors import ImageError
from siamese.faces.croppers.none import NoCropper
from siamese.faces.crops import crop_files
from siamese.inference.verifier import Verifier

SECONDS = 60.0  # none of these takes more than three

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]


def in_time(work: Callable[[], object]) -> object:
    """What some work returns or raises; it fails where the work waits for ever."""
    found: list[object] = []

    def run() -> None:
        try:
            found.append(work())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(SECONDS)
    assert found, "it hangs"
    return found[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = write_identities(tmp_path_factory.mktemp("wild") / "people", [4] * 12)
    sound, bad = write_files(root / "person_05")
    return root, sound, bad


def test_there_are_many_kinds():
    assert len(BAD) >= 55
    assert len(SOUND) >= 30


def test_a_folder_is_used_but_for_what_cannot_be_read(folder):
    root, sound, bad = folder
    data = ImageDataModule(
        IdentityTable.from_folder(root),
        NoCropper(size=16),
        bad_images="quarantine",
        progress=False,
    )
    assert in_time(data.setup) is None
    assert data.manifest is not None
    assert isinstance(data.prepared, PreparedData)
    left_out = {file.removeprefix("person_05/") for file in data.manifest.quarantine}
    assert left_out == bad
    assert all(reason for reason in data.manifest.quarantine.values())
    used = {file for split in data.splits for file in data.table(split).files}
    assert {f"person_05/{name}" for name in sound} <= used
    assert len(used) + len(left_out) == len(sound) + len(bad) + 48


def test_cropping_tells_of_each(folder):
    root, sound, bad = folder
    paths = sorted((root / "person_05").iterdir())
    found = in_time(
        lambda: crop_files(paths, NoCropper(size=17), bad_images="quarantine", progress=False)
    )
    assert {paths[row].name for row in found.bad} == bad
    assert {path.name for path, crop in zip(paths, found.files, strict=True) if crop} >= sound


def test_a_verifier_embeds_it_or_says_why_not(folder):
    root, sound, bad = folder
    verifier = Verifier(bundle())
    paths = [root / "person_05" / name for name in sorted(sound)]
    embeddings = in_time(lambda: verifier.embed(paths, progress=False))
    assert embeddings.shape[0] == len(paths)
    for name in sorted(bad):
        for work in (
            lambda: verifier.verify(paths[0], root / "person_05" / name),  # noqa: B023
            lambda: verifier.embed([root / "person_05" / name], progress=False),  # noqa: B023
        ):
            error = in_time(work)
            assert isinstance(error, ImageError), (name, error)
            assert_says(error, name)
