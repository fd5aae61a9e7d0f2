"""Downloads against a server in this process.

Broken off and resumed, started over, wrong, missing, and done already.
"""

from __future__ import annotations

import errno
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.helpers import assert_says

from siamese.datasets.download import download_file
from siamese.errors import DataError

CONTENT = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT at every address but /missing.

    Attributes:
        ranges: whether it answers range requests.
        break_after: bytes after which each answer is cut off; None for never.
        hang: do not answer until this is set.
        requests: the Range header of each request, None where there was none.
        sent: bytes of content sent in all.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges, self.break_after, self.hang = True, None, threading.Event()
        self.hang.set()
        self.requests: list[str | None] = []
        self.sent = 0

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is what some tests are about: no traceback."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.bin"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.requests.append(asked)
        self.server.hang.wait(10)
        if self.path.endswith("missing"):
            self.send_error(404)
            return
        first = (
            int(asked.removeprefix("bytes=").removesuffix("-"))
            if asked and self.server.ranges
            else 0
        )
        if first >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked and self.server.ranges else 200)
        if asked and self.server.ranges:
            self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
        self.send_header("Content-Length", str(len(CONTENT) - first))
        self.end_headers()
        body = CONTENT[first:][: self.server.break_after]
        self.server.sent += len(body)  # before the client can have all of it and look
        self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.hang.set()
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(server: Server, target: Path, sha256: str = SHA256, url: str | None = None) -> Path:
    return download_file(url or server.url, target, sha256, timeout=5.0, progress=False)


def names(folder: Path) -> list[str]:
    return sorted(f.name for f in folder.iterdir())


def test_a_whole_download(server, tmp_path):
    target = fetch(server, tmp_path / "new" / "folder" / "file.bin")
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["file.bin"]
    assert server.requests == [None]


def test_a_file_that_is_there_is_not_fetched_again(server, tmp_path):
    fetch(server, tmp_path / "file.bin")
    before = (tmp_path / "file.bin").stat().st_mtime_ns
    fetch(server, tmp_path / "file.bin")
    assert len(server.requests) == 1
    assert (tmp_path / "file.bin").stat().st_mtime_ns == before


def test_a_file_with_other_content_is_fetched_anew(server, tmp_path):
    (tmp_path / "file.bin").write_bytes(b"older edition")
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_a_broken_connection_is_told_and_resumed_by_a_range_request(server, tmp_path):
    server.break_after = 1_234_567
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "file.bin")
    assert_says(
        caught.value,
        server.url,
        "connection",
        "1,234,567 of 3,000,000",
        "run the same command again",
    )
    assert names(tmp_path) == ["file.bin.part"]
    server.break_after = None
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1234567-"]
    assert server.sent == len(CONTENT)  # not a byte twice
    assert names(tmp_path) == ["file.bin"]


def test_a_connection_that_breaks_again_and_again_still_gets_there(server, tmp_path):
    server.break_after = 800_000
    for _ in range(3):
        with pytest.raises(DataError, match="connection"):
            fetch(server, tmp_path / "file.bin")
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=800000-", "bytes=1600000-", "bytes=2400000-"]


def test_a_server_that_cannot_resume_starts_over(server, tmp_path):
    server.break_after = 1_000_000
    with pytest.raises(DataError):
        fetch(server, tmp_path / "file.bin")
    server.break_after, server.ranges = None, False
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, "bytes=1000000-"]
    assert server.sent == 1_000_000 + len(CONTENT)


def test_a_part_that_is_complete_already_needs_no_more_bytes(server, tmp_path):
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.sent == 0


def test_a_wrong_checksum_is_told_and_deleted(server, tmp_path):
    wrong = "0" * 64
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "file.bin", wrong)
    assert_says(caught.value, server.url, SHA256[:16], wrong[:16], "deleted", "again")
    assert names(tmp_path) == []


@pytest.mark.parametrize("part", [b"from another file", CONTENT + b"and more"])
def test_a_part_of_something_else_is_not_kept_for_ever(server, tmp_path, part):
    (tmp_path / "file.bin.part").write_bytes(part)
    with pytest.raises(DataError, match="deleted"):
        fetch(server, tmp_path / "file.bin")
    assert names(tmp_path) == []
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT


def test_an_address_that_is_gone(server, tmp_path):
    url = server.url.replace("file.bin", "missing")
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "file.bin", url=url)
    assert_says(caught.value, url, "404")
    assert names(tmp_path) == []


def test_nobody_listens(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/file.bin"
        with pytest.raises(DataError) as caught:
            download_file(url, tmp_path / "file.bin", SHA256, timeout=2.0, progress=False)
    assert_says(caught.value, url, "connection", "again")


def test_a_server_that_does_not_answer(server, tmp_path):
    server.hang.clear()
    with pytest.raises(DataError) as caught:
        download_file(server.url, tmp_path / "file.bin", SHA256, timeout=0.3, progress=False)
    assert_says(caught.value, server.url, "timed out", "again")


def test_a_full_disk_keeps_what_has_arrived(server, tmp_path, monkeypatch):
    real = Path.open

    class Full:
        def __init__(self, stream: Any) -> None:
            self.stream = stream

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            self.stream.close()

        def write(self, block: bytes) -> int:
            if self.stream.tell() + len(block) > 1_500_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return self.stream.write(block)

    def opened(self: Path, mode: str = "r", *rest: Any, **settings: Any) -> Any:
        stream = real(self, mode, *rest, **settings)
        return Full(stream) if "w" in mode or "a" in mode else stream

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(DataError) as caught:
            fetch(server, tmp_path / "file.bin")
    assert_says(caught.value, tmp_path / "file.bin.part", "No space left", "free some space")
    kept = (tmp_path / "file.bin.part").stat().st_size
    assert kept > 0
    assert fetch(server, tmp_path / "file.bin").read_bytes() == CONTENT
    assert server.requests == [None, f"bytes={kept}-"]


def test_a_file_where_the_folder_should_be(server, tmp_path):
    (tmp_path / "data").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        fetch(server, tmp_path / "data" / "file.bin")
    assert_says(caught.value, tmp_path / "data", "cannot be written")
