"""The page's server: verdicts, policies, searches, and all that it refuses."""

import base64
import io

import numpy as np
import pytest
from PIL import Image
from tests.app.stage import (
    BODY,
    client_of,
    compare,
    photograph,
    small_bundle,
)
from tests.helpers import orl_folder

import siamese
from siamese.app.facts import SLIDERS, TITLES, histogram
from siamese.app.server import Loaded
from siamese.app.words import error_for_visitor


def written(content, path):
    path.write_bytes(content)
    return path


# --- two photographs ---


def test_the_verdict_is_that_of_the_verifier(client, verifier, tmp_path):
    one, other = photograph(1), photograph(2)
    found = compare(client, one, other)
    assert found.status_code == 200
    paths = [written(one, tmp_path / "a.png"), written(other, tmp_path / "b.png")]
    assert found.json()["verdict"] == verifier.verify(*paths).to_dict()


def test_the_chip_is_what_the_network_sees(client, verifier, tmp_path):
    one = photograph(1)
    seen = compare(client, one, photograph(2)).json()["photographs"][0]
    kind, _, data = seen["chip"].partition(",")
    assert kind == "data:image/png;base64"
    chip = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert (chip == verifier.look(written(one, tmp_path / "a.png")).face.crop).all()


def test_a_turned_photograph_is_shown_upright(client):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = io.BytesIO()
    Image.new("RGB", (60, 30)).save(content, "JPEG", exif=exif)
    seen = compare(client, content.getvalue(), photograph(2)).json()["photographs"][0]
    assert (seen["width"], seen["height"]) == (30, 60)


def test_faces_boxes_and_quality_of_people():
    verifier = siamese.Verifier.pretrained()
    client = client_of(Loaded(verifier))
    people = orl_folder()
    paths = [people / "s2" / "1.pgm", people / "s2" / "2.pgm"]
    found = compare(client, *(path.read_bytes() for path in paths)).json()
    assert found["verdict"] == verifier.verify(*paths).to_dict()
    for path, seen in zip(paths, found["photographs"], strict=True):
        face = verifier.look(path).face
        assert seen["boxes"] == [[round(edge, 1) for edge in face.box]]
        assert seen["quality"]["warnings"] == list(verifier.quality(face).warnings)
    two = np.concatenate([np.asarray(Image.open(path)) for path in paths], axis=1)
    content = io.BytesIO()
    Image.fromarray(two).save(content, "PNG")
    seen = compare(client, paths[0].read_bytes(), content.getvalue()).json()["photographs"][1]
    assert seen["faces"] == len(seen["boxes"]) == 2
    blank = io.BytesIO()
    Image.new("RGB", (200, 200), "grey").save(blank, "PNG")
    refused = compare(client, paths[0].read_bytes(), blank.getvalue())
    assert refused.status_code == 422
    assert refused.json()["photograph"] == 1
    assert refused.json()["error"].startswith("no face found")


# --- the threshold ---


@pytest.mark.parametrize("name", sorted(TITLES))
def test_every_policy_with_every_slider(client, verifier, name):
    offered = client.get("/api/facts").json()["policies"]
    (shown,) = [each for each in offered if each["name"] == name]
    assert [each["name"] for each in shown["sliders"]] == [
        each["name"] for each in SLIDERS.get(name, [])
    ]
    for part in ("low", "value", "high"):
        policy = {"name": name} | {each["name"]: each[part] for each in shown["sliders"]}
        found = client.post("/api/judge", json={"policy": policy, "distance": 1.0, "faces": [1, 1]})
        wanted, why_not = chosen(verifier, policy)
        if why_not is not None:
            assert (found.status_code, found.json()["error"]) == (422, why_not)
            continue
        at, verdict = found.json()["at"], found.json()["verdict"]
        assert at["threshold"] == verdict["threshold"] == wanted.threshold
        assert at["counts"]["fp"] == wanted.confusion.fp
        assert at["chosen"] == wanted.point.choice_in_words(at_words(client)["one"])
        assert verdict["same"] == siamese.is_match(1.0, wanted.threshold)


def at_words(client):
    return client.get("/api/facts").json()["words"]


def chosen(verifier, policy):
    """What the library says itself: a calibration, or why there is none."""
    try:
        return verifier.bundle.with_policy(policy), None
    except siamese.CalibrationError as error:
        return None, error_for_visitor(error)


def test_all_registered_policies_are_offered(client):
    offered = [each["name"] for each in client.get("/api/facts").json()["policies"]]
    assert offered == list(siamese.POLICIES)
    assert set(offered) == set(TITLES)


def test_a_distance_of_ones_own_and_a_promise(client, verifier):
    at = client.post("/api/judge", json={"threshold": 1.25}).json()["at"]
    assert at["threshold"] == 1.25
    assert at["counts"]["tp"] == verifier.bundle.with_policy(1.25).confusion.tp
    policy = {"name": "fmr", "rate": 0.05, "confidence": 0.95}
    found = client.post("/api/judge", json={"policy": policy}).json()
    assert found["verdict"] is None
    assert "with a confidence of 0.95" in found["at"]["promise"]


@pytest.mark.parametrize(
    ("settings", "status", "words"),
    [
        ({"policy": {"name": "fmx"}}, 422, "did you mean 'fmr'"),
        ({"policy": {"name": "fmr", "rate": 2}}, 422, "below 1"),
        ({"policy": {"name": "fmr", "rate": 1e-9}}, 422, "rule of 30"),
        ({"policy": {"name": ["fmr"]}}, 400, "not understood"),
        ({"policy": None, "more": 1}, 400, "unknown field"),
        ({"distance": "near"}, 400, "not understood"),
        ([1], 400, "not understood"),
    ],
)
def test_settings_that_mean_nothing(client, settings, status, words):
    found = client.post("/api/judge", json=settings)
    assert found.status_code == status
    assert words in found.json()["error"]


@pytest.mark.parametrize("content", [b"", b"{", b'{"distance": NaN}', b"[" * 5000, b"\xff"])
def test_settings_that_are_no_json(client, content):
    headers = {"content-type": "application/json"}
    assert client.post("/api/judge", content=content, headers=headers).status_code == 400


def test_a_bundle_without_calibration_takes_a_distance():
    point = siamese.OperatingPoint(0.5, "given", "euclidean", "nothing", {"name": "all_pairs"})
    verifier = siamese.Verifier(small_bundle(operating_point=point, calibration=None))
    client = client_of(Loaded(verifier))
    facts = client.get("/api/facts").json()
    assert facts["policies"] == []
    assert facts["histogram"] is None
    found = compare(client, photograph(1), photograph(2)).json()
    assert found["verdict"]["probability"] is None
    asked = {"threshold": 9.0, "distance": found["verdict"]["distance"]}
    assert client.post("/api/judge", json=asked).json()["verdict"]["same"]
    refused = client.post("/api/judge", json={"policy": {"name": "eer"}})
    assert refused.status_code == 422


def test_the_histogram_counts_every_pair_once(verifier):
    curve = verifier.calibration.curve
    found = histogram(curve, 10)
    assert sum(found["genuine"]) == curve.genuine
    assert sum(found["impostor"]) == curve.impostor
    edges = found["edges"]
    for i in range(10):
        upto = curve.at(edges[i + 1]) if i < 9 else curve.at(np.inf)
        assert sum(found["genuine"][: i + 1]) == upto.tp
        assert sum(found["impostor"][: i + 1]) == upto.fp


def test_a_pair_at_an_edge_is_counted_up_to_it():
    ones = np.arange(1, 12)
    curve = siamese.ThresholdCurve(np.arange(11, dtype=np.float32), ones, ones)
    assert histogram(curve, 10)["genuine"] == [2] + [1] * 9


# --- a gallery ---


def test_a_search_is_that_of_the_gallery(client, loaded):
    content = photograph(1)
    found = client.post("/api/search", content=content, headers=BODY).json()
    own = loaded.gallery.search(np.asarray(Image.open(io.BytesIO(content))))
    (face,) = found["faces"]
    assert [(c["name"], c["distance"], c["accepted"]) for c in face["candidates"]] == [
        (c.name, c.distance, c.accepted) for c in own[0].candidates
    ]
    assert face["candidates"][0]["name"] == "Bob <b>"
    distances = [c["distance"] for c in face["candidates"]]
    asked = {"rate": 0.3, "distances": [distances]}
    slid = client.post("/api/search/limit", json=asked).json()
    limit = loaded.gallery.threshold(0.3)
    assert slid["limit"]["threshold"] == limit.threshold
    assert slid["limit"]["words"] == limit.in_words
    assert slid["accepted"] == [[siamese.is_match(d, limit.threshold) for d in distances]]


def test_folders_of_this_machine_are_not_told(verifier):
    gallery = siamese.Gallery(verifier)
    row = verifier.embed([np.zeros((40, 40, 3), dtype=np.uint8)]).numpy()
    gallery.add_embeddings("Ann", row, ["/home/secret/ann.jpg"])
    moved = siamese.Verifier(verifier.bundle)
    moved.source = "/home/secret/runs/latest"
    client = client_of(Loaded(moved, gallery))
    found = client.post("/api/search", content=photograph(1), headers=BODY)
    assert "ann.jpg" in found.text
    assert "secret" not in found.text + client.get("/api/facts").text


def test_without_gallery_and_folder_it_says_how(verifier):
    client = client_of(Loaded(verifier))
    refused = client.post("/api/search", content=photograph(1), headers=BODY)
    assert refused.status_code == 404
    assert "--gallery" in refused.json()["error"]
    assert client.get("/api/folder").status_code == 404
