"""The figures of a folder: those of the evaluation, at any threshold, and how far it is."""

import threading

import pytest
import torch
from tests.app.stage import client_of, small_bundle
from tests.helpers import write_identities

import siamese
from siamese.app.folder import FolderFigures
from siamese.app.server import Loaded
from siamese.progress import listening, progress_bar


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    return write_identities(tmp_path_factory.mktemp("people"), [4] * 8)


@pytest.fixture(scope="module")
def found(people, tmp_path_factory):
    torch.manual_seed(0)
    cache = tmp_path_factory.mktemp("cache")
    return siamese.evaluate_run(small_bundle(), people, cache=cache, progress=False)


def test_the_figures_are_those_of_the_evaluation(found):
    folder = FolderFigures("people", lambda: found)
    client = client_of(Loaded(siamese.Verifier(small_bundle()), None, folder))
    assert client.get("/api/folder").json()["state"] == "running"
    assert client.post("/api/figures", json={}).status_code == 409
    folder.start().join()
    facts, figures = client.get("/api/folder").json(), found.evaluations["data"]
    assert facts["state"] == "done"
    assert (facts["people"], facts["images"]) == (8, 32)
    assert (facts["genuine"], facts["impostor"]) == (figures.genuine, figures.impostor)
    at = facts["at"]
    for name in ("tp", "fp", "fn", "tn"):
        assert at["counts"][name] == getattr(figures.confusion, name)
    for name in ("recall", "fmr", "f1", "accuracy"):
        assert at["figures"][name] == pytest.approx(getattr(figures, name))
        assert at["ci95"][name] == pytest.approx(list(figures.ci95[name]))
    share = figures.prevalence
    assert at["one_verdict"]["f1"] == pytest.approx(2 * share / (1 + share))


def test_another_policy_reuses_the_counts(found):
    folder = FolderFigures("people", lambda: found)
    folder.start().join()
    verifier = siamese.Verifier(small_bundle())
    client = client_of(Loaded(verifier, None, folder))
    policy = {"name": "recall", "rate": 0.8}
    slid = client.post("/api/figures", json={"policy": policy}).json()
    threshold = verifier.bundle.with_policy(policy).threshold
    assert slid["at"]["threshold"] == slid["folder"]["threshold"] == threshold
    counts = found.distances["data"].curve().at(threshold)
    assert slid["folder"]["counts"]["tp"] == counts.tp
    assert slid["folder"]["counts"]["fp"] == counts.fp


def test_it_says_how_far_it_is(people, tmp_path):
    heard = []

    class Heard(FolderFigures):
        def _hear(self, what, done, total):
            heard.append((what, done, total))
            super()._hear(what, done, total)

    folder = Heard(
        "people",
        lambda: siamese.evaluate_run(small_bundle(), people, cache=tmp_path, progress=False),
    )
    folder.start().join()
    assert folder.to_dict()["state"] == "done"
    assert ("cropping", 32, 32) in heard
    assert ("embedding", 1, 1) in heard


def test_it_stops_at_the_next_step(people, tmp_path):
    steps = []

    class Slow(FolderFigures):
        def _hear(self, what, done, total):
            steps.append(what)
            started.set()
            goes_on.wait(5)
            super()._hear(what, done, total)

    started, goes_on = threading.Event(), threading.Event()
    folder = Slow(
        "people",
        lambda: siamese.evaluate_run(small_bundle(), people, cache=tmp_path, progress=False),
    )
    thread = folder.start()
    assert started.wait(30)
    assert not folder.abandon(0.01)  # it is in the middle of a step
    goes_on.set()
    assert folder.abandon(30)
    assert not thread.is_alive()
    assert steps == ["cropping"]
    assert FolderFigures("people", lambda: None).abandon()  # never started


def test_why_there_are_none(tmp_path):
    folder = FolderFigures("gone", lambda: siamese.evaluate_run(small_bundle(), tmp_path / "gone"))
    folder.start().join()
    assert folder.to_dict()["state"] == "failed"
    assert "gone" in folder.to_dict()["error"]


def test_progress_is_heard_in_its_own_thread_alone():
    heard = []
    with listening(lambda *args: heard.append(args)), progress_bar("work", 3, False) as advance:
        advance(2)
    with progress_bar("other", 3, False) as advance:
        advance(1)
    assert heard == [("work", 0, 3), ("work", 2, 3)]
