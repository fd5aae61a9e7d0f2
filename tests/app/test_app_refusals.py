"""What the page's server refuses, and what it keeps: nothing."""

import asyncio
import io
import json
import os
import sys
import tempfile
import time
from dataclasses import replace

import httpx
import pytest
from PIL import Image
from tests.app.stage import (
    BODY,
    client_of,
    compare,
    photograph,
)

from siamese.app import limits, verdicts
from siamese.app.guard import HEADERS
from siamese.app.server import make_app


@pytest.mark.parametrize(
    "content",
    [b"no image", b"\xff\xd8\xff\xe0 cut", photograph(1)[:60], b"GIF89a", b"%!PS-Adobe-3.0 EPSF"],
)
def test_what_is_no_image_is_refused_by_its_place(client, content):
    refused = compare(client, photograph(1), content)
    assert refused.status_code == 422
    assert refused.json()["photograph"] == 1
    assert compare(client, content, photograph(1)).json()["photograph"] == 0
    assert client.post("/api/search", content=content, headers=BODY).status_code == 422


def test_a_small_file_of_many_pixels_is_refused(client):
    content = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(content, "PNG")
    refused = compare(client, content.getvalue(), photograph(1))
    assert refused.status_code == 422
    assert "pixels" in refused.json()["error"]


def test_bodies_are_bounded_before_they_are_read(client, monkeypatch):
    monkeypatch.setattr(limits, "MOST_PHOTOGRAPH", 9_000)
    small, large = photograph(1), b"x" * 9_001
    assert compare(client, small, small).status_code == 200
    assert compare(client, large, small).json()["photograph"] == 0
    assert compare(client, small, large).status_code == 413
    read = []

    async def parts():
        for _ in range(1000):
            read.append(1)
            yield b"x" * 1000

    # Without a length nothing is read; with a false one no more than may be.
    refused = client.post("/api/search", content=parts(), headers=BODY)
    assert refused.status_code == 411
    said = BODY | {"content-length": "90000"}
    assert client.post("/api/search", content=parts(), headers=said).status_code == 413
    said = {"content-type": "application/json", "content-length": "20001"}
    assert client.post("/api/judge", content=b"{}", headers=said).status_code == 413


def test_a_body_that_is_longer_than_it_says_is_cut_off():
    parts = iter(range(9, -1, -1))

    async def receive():
        return {"type": "http.request", "body": b"x" * 600, "more_body": next(parts) > 0}

    scope = {
        "type": "http",
        "method": "POST",
        "headers": [(b"content-type", b"application/octet-stream"), (b"content-length", b"10")],
    }
    request = limits.Request(scope, receive)
    with pytest.raises(limits.Refused, match="at most 1,000"):
        asyncio.run(limits.read_body(request, limits.PHOTOGRAPHS, 1_000))


def test_a_body_that_does_not_come_is_given_up(monkeypatch):
    monkeypatch.setattr(limits, "SECONDS", 0.05)

    async def receive():
        await asyncio.sleep(5)

    headers = [(b"content-type", b"application/json"), (b"content-length", b"10")]
    request = limits.Request({"type": "http", "method": "POST", "headers": headers}, receive)
    with pytest.raises(limits.Refused) as refused:
        asyncio.run(limits.read_body(request, limits.JSON, 1_000))
    assert refused.value.status == 408


@pytest.mark.parametrize("first", ["", "-1", "0", "999999999", "1e3", "٣", "1" * 99])
def test_a_place_between_photographs_that_is_none(client, first):
    content = photograph(1) + photograph(2)
    refused = client.post("/api/verify", params={"first": first}, content=content, headers=BODY)
    assert refused.status_code == 400


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", None])
def test_what_a_form_of_another_site_could_send_is_refused(client, kind):
    headers = {"content-type": kind} if kind else {}
    assert client.post("/api/search", content=photograph(1), headers=headers).status_code == 415
    assert client.post("/api/judge", content=b"{}", headers=headers).status_code == 415


@pytest.mark.parametrize(
    ("host", "fine"),
    [
        ("127.0.0.1:8420", True),
        ("localhost:8420", True),
        ("LOCALHOST", True),
        ("[::1]:8420", True),
        ("evil.example:8420", False),
        ("127.0.0.1.evil.example", False),
        ("192.168.0.7", False),
        ("", False),
    ],
)
def test_only_names_of_this_server_are_answered(client, host, fine):
    for address in ("/", "/api/facts", "/page.js"):
        assert (client.get(address, headers={"host": host}).status_code == 200) == fine
    posted = client.post("/api/judge", json={}, headers={"host": host})
    assert (posted.status_code == 200) == fine


def test_a_server_for_the_network_takes_addresses_and_no_strange_names(loaded):
    client = client_of(loaded, "0.0.0.0")
    for host, status in (("192.168.0.7:8420", 200), ("evil.example", 403), ("localhost", 200)):
        assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize(
    ("headers", "fine"),
    [
        ({"origin": "http://127.0.0.1:8420"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
        ({}, True),  # no browser: curl, say
        ({"origin": "http://evil.example"}, False),
        ({"origin": "https://127.0.0.1:8420"}, False),
        ({"origin": "http://127.0.0.1:9999"}, False),
        ({"origin": "null"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"origin": "http://127.0.0.1:8420", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_other_web_sites_may_not_ask(client, headers, fine):
    found = client.post("/api/judge", json={}, headers=headers)
    assert found.status_code == (200 if fine else 403)
    assert compare(client, photograph(1), photograph(2)).status_code == 200
    assert "access-control-allow-origin" not in found.headers


def test_a_link_to_the_page_may_stand_anywhere_and_its_parts_may_not(client):
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/api/facts", headers=link).status_code == 403
    asked = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client.get("/page.js", headers=asked).status_code == 403


def test_every_answer_has_the_headers(client):
    refused = client.get("/", headers={"host": "evil.example"})
    for found in (
        client.get("/"),
        client.get("/none"),
        client.post("/api/judge", json=[]),
        refused,
    ):
        for name, value in HEADERS.items():
            assert found.headers[name] == value
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "*" not in policy
    assert "http" not in policy


def test_the_page_names_no_other_place_and_has_no_script_inside(client):
    html = client.get("/").text
    assert "<script>" not in html
    assert "style=" not in html
    for name in ("", *[line.split('"')[0] for line in html.split('src="')[1:]], "page.css"):
        text = client.get(f"/{name}").text.replace("http://www.w3.org/2000/svg", "")
        assert "http" not in text.replace("https://", "http"), name


@pytest.mark.parametrize(
    "path", ["/../server.py", "/%2e%2e/server.py", "/page/index.html", "//etc/passwd", "/.git"]
)
def test_no_path_of_the_server_is_read(client, path):
    assert client.get(path).status_code == 404


# --- what is kept, and how many at once ---


def test_nothing_is_written_anywhere(client, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    client.get("/")
    large = photograph(3, "BMP", 800)  # 2 MB: more than what servers keep in memory by default
    opened: list = []
    state = {"on": True}

    def hook(event, args):
        if state["on"] and event == "open":
            mode, flags = args[1] or "", args[2] or 0
            changes = os.O_WRONLY | os.O_RDWR | os.O_CREAT
            if set("wax+") & set(mode) or flags & changes:
                opened.append(args)

    sys.addaudithook(hook)
    try:
        assert compare(client, large, photograph(1)).status_code == 200
        assert client.post("/api/search", content=large, headers=BODY).status_code == 200
        assert compare(client, b"no image", large).status_code == 422
        (tmp_path / "seen").touch()  # the hook sees what is written
    finally:
        state["on"] = False
    assert [str(args[0]) for args in opened] == [str(tmp_path / "seen")]
    assert [path.name for path in tmp_path.iterdir()] == ["seen"]


def test_one_photograph_at_a_time_and_busy_beyond_the_queue(loaded, monkeypatch):
    now, most, threads = [], [], set()
    own = verdicts.seen

    def watched(*args):
        import threading

        now.append(1)
        most.append(len(now))
        threads.add(threading.get_ident())
        time.sleep(0.02)
        try:
            return own(*args)
        finally:
            now.pop()

    monkeypatch.setattr(verdicts, "seen", watched)
    one, other = photograph(1), photograph(2)

    async def ask():
        transport = httpx.ASGITransport(make_app(loaded))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            address = f"/api/verify?first={len(one)}"
            posts = [client.post(address, content=one + other, headers=BODY) for _ in range(7)]
            slid = client.post("/api/judge", json={"threshold": 1.0})
            found = await asyncio.gather(*posts, slid)
            again = await client.post(address, content=one + other, headers=BODY)
            return [each.status_code for each in found], again.status_code

    *posted, slid = (found := asyncio.run(ask()))[0]
    assert sorted(posted) == [200] * limits.MOST_WAITING + [503] * (7 - limits.MOST_WAITING)
    assert slid == 200
    assert found[1] == 200
    assert max(most) == 1
    assert len(threads) == 1


def test_a_place_is_given_back_after_an_error(client):
    for _ in range(2 * limits.MOST_WAITING):
        assert compare(client, b"none", photograph(1)).status_code == 422
    assert compare(client, photograph(1), photograph(2)).status_code == 200


def test_answers_are_json_without_nan(client):
    def no(word):
        raise AssertionError(word)

    json.loads(client.get("/api/facts").text, parse_constant=no)
    json.loads(compare(client, photograph(1), photograph(1)).text, parse_constant=no)


def test_a_verifier_at_another_threshold_leaves_the_first_one_alone(verifier):
    before = replace(verifier.operating_point)
    at = verdicts.verifier_at(verifier, verdicts.Wanted(threshold=1.5))
    assert at.threshold == 1.5
    assert verifier.operating_point == before
