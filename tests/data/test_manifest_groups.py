"""Groups in the split manifest: kept with their images, optional, and checked."""

import json
from dataclasses import replace

import pytest
from tests.helpers import assert_says

from siamese.data.manifest import SplitManifest
from siamese.data.prepared import prepare
from siamese.data.split_protocols.identity_disjoint import split_identities
from siamese.datasets.identities import IdentityTable
from siamese.datasets.other_data import OTHER
from siamese.errors import SplitError
from siamese.evaluation.data import EvaluationData, other_manifest
from siamese.evaluation.other_distance import FITTING, divide_identities
from siamese.faces.croppers.none import NoCropper
from siamese.pairs.balanced_pairs import BalancedPairs


@pytest.fixture
def table(identity_folder):
    """Two columns that together tell every image from all others, so that no mix-up goes unseen."""
    plain = IdentityTable.from_folder(identity_folder)
    who = tuple(file.partition("/")[0][-2:] for file in plain.files)
    which = tuple(file[-5] for file in plain.files[:-1])
    return replace(plain, groups={"group_who": who, "group_which": (*which, "")})


def told(table):
    """File -> its groups."""
    return dict(zip(table.files, zip(*table.groups.values(), strict=True), strict=True))


def manifest_of(table):
    return SplitManifest.make(table, split_identities(table, seed=5), seed=5)


def test_every_image_keeps_its_groups_in_its_split_and_on_the_disk(table, tmp_path):
    manifest = manifest_of(table)
    loaded = SplitManifest.load(manifest.save(tmp_path / "split.json"))
    assert loaded == manifest
    together = {}
    for split in loaded.splits:
        together |= told(loaded.table(split))
    assert together == told(table)
    entry = next(e for e in loaded.splits["train"] if e["groups"]["group_which"] == "1")
    assert entry["file"].endswith("1.png")


def test_images_that_are_left_out_take_their_groups_along(table, tmp_path):
    first, second = table.paths[0], table.paths[5]
    first.write_bytes(b"no image")
    manifest = SplitManifest.make(table, {OTHER: list(range(len(table)))})
    manifest.quarantine[second.relative_to(table.root).as_posix()] = "blurred"
    prepared = prepare(manifest, NoCropper(32), bad_images="quarantine", progress=False)
    part = prepared.splits[OTHER].table
    assert len(part) == len(table) - 2
    assert told(part) == {f: told(table)[f] for f in part.files}
    rules = {OTHER: BalancedPairs()}
    data = EvaluationData.of_prepared(manifest, prepared, rules)
    assert data.groups == {OTHER: part.groups}


def test_identities_that_a_distance_is_fitted_to_take_their_groups_along(table):
    manifest = other_manifest(table, None)
    divide_identities(manifest)
    both = told(manifest.table(FITTING)) | told(manifest.table(OTHER))
    assert both == told(table)


def test_a_manifest_without_groups_loads_as_before(table, tmp_path):
    path = manifest_of(table).save(tmp_path / "split.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    for entries in content["splits"].values():
        for entry in entries:
            del entry["groups"]
    path.write_text(json.dumps(content), encoding="utf-8")
    earlier = SplitManifest.load(path)
    assert earlier == manifest_of(replace(table, groups={}))
    assert earlier.table("train").groups == {}
    assert earlier.has_split_of(manifest_of(table))  # a run of before can be resumed
    assert not earlier.has_split_of(SplitManifest.make(table, split_identities(table, seed=6)))


def test_an_entry_that_lacks_a_group_is_unknown(table):
    manifest = manifest_of(table)
    del manifest.splits["train"][0]["groups"]["group_who"]
    del manifest.splits["train"][1]["groups"]
    groups = manifest.table("train").groups
    assert groups["group_who"][:2] == ("", "")
    assert groups["group_which"][1] == ""
    assert all(groups["group_who"][2:])


@pytest.mark.parametrize("wrong", [["f"], "f", {"group": 1}, {"group": None}])
def test_groups_of_a_wrong_type_are_refused(table, tmp_path, wrong):
    path = manifest_of(table).save(tmp_path / "split.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    content["splits"]["test"][0]["groups"] = wrong
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(SplitError) as caught:
        SplitManifest.load(path)
    assert_says(caught.value, path, "'test'", "wrong type", "altered")
