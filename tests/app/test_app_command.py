"""`siamese app`: where it listens, what it says, how it ends."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from tests.app.stage import small_bundle, small_gallery
from tests.helpers import assert_says

import siamese
from siamese.app import needed
from siamese.app.guard import address, is_private
from siamese.app.serving import listen
from siamese.cli.main import main
from siamese.errors import ConfigError, MissingDependencyError


def test_it_serves_until_it_is_stopped(tmp_path):
    small_bundle().save(tmp_path / "bundle")
    verifier = siamese.Verifier.load(tmp_path / "bundle")
    small_gallery(verifier).save(tmp_path / "gallery")
    words = ["app", "--gallery", str(tmp_path / "gallery"), "--port", "0", "--json"]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-m", "siamese", *words],
        stdout=pipe,
        stderr=pipe,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as process:
        try:
            url = json.loads(process.stdout.readline())["address"]
            assert url.startswith("http://127.0.0.1:")
            with urllib.request.urlopen(url + "api/facts", timeout=20) as answer:
                facts = json.load(answer)
            assert facts["gallery"]["people"] == 2
            process.send_signal(signal.SIGINT)
            rest, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 0
    assert (rest, said) == ("", "stopped\n")


def test_a_place_that_is_taken_is_said_before_anything_is_loaded(capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["app", "no/such/bundle", "--port", str(port)]) == 2
    assert_says(capsys.readouterr().err.strip(), "cannot listen", port, "--port 0")


@pytest.mark.parametrize(("host", "port"), [("127.0.0.1", 70000), ("no.such.host.invalid", 0)])
def test_places_that_are_none(host, port):
    with pytest.raises(ConfigError) as error:
        listen(host, port)
    assert_says(error.value, "port")


@pytest.mark.parametrize(
    ("host", "private"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("::1", True),
        ("127.9.9.9", True),
        ("0.0.0.0", False),
        ("192.168.0.7", False),
        ("::", False),
        ("my-machine", False),
    ],
)
def test_whom_a_place_lets_in(host, private):
    assert is_private(host) == private


def test_who_listens_to_the_network_is_warned(capsys, monkeypatch, tmp_path):
    from siamese.app import serving

    small_bundle().save(tmp_path / "bundle")
    monkeypatch.setattr(serving, "serve", lambda app, place: None)
    for host, warned in (("0.0.0.0", True), ("127.0.0.1", False)):
        assert main(["app", str(tmp_path / "bundle"), "--host", host, "--port", "0"]) == 0
        said = capsys.readouterr()
        assert said.out.startswith("http://")
        assert ("anybody on the network" in said.err) == warned


def test_an_address_that_a_browser_opens():
    assert address("127.0.0.1", 8420) == "http://127.0.0.1:8420/"
    assert address("0.0.0.0", 1) == "http://localhost:1/"
    assert address("::1", 1) == "http://[::1]:1/"


def test_packages_that_are_missing(monkeypatch):
    monkeypatch.setattr(needed.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match=r"siamese-lightning\[app\]"):
        needed.require_packages()


@pytest.mark.parametrize("name", ["hep", "hep.csv"])
def test_people_who_are_nowhere_are_said_first(capsys, monkeypatch, tmp_path, name):
    from siamese.app import serving

    monkeypatch.setattr(serving, "serve", lambda app, place: None)
    small_bundle().save(tmp_path / "bundle")
    people = str(tmp_path / name)
    assert main(["app", str(tmp_path / "bundle"), "--data", people, "--port", "0"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert_says(said.err.strip(), f"{people}: no such")


def test_data_are_evaluated_with_a_bundle(tmp_path):
    from siamese.cli import app

    args = app.argparse.Namespace(data=str(tmp_path), trusted=None, root=None)
    with pytest.raises(ConfigError, match="exported from"):
        app._folder(args, "model.onnx")
    assert app._folder(app.argparse.Namespace(data=None), "model.onnx") is None
