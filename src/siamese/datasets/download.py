"""Download one file: checksummed, resumed where an earlier try stopped, with a progress bar."""

from __future__ import annotations

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from siamese.errors import DataError

_BLOCK = 1 << 20


def download_file(
    url: str, target: Path, sha256: str, *, timeout: float = 30.0, progress: bool = True
) -> Path:
    """Fetch ``url`` into ``target`` unless it is there already with the right checksum.

    What arrives is kept in ``<target>.part``; if the connection breaks, the next call asks the
    server for the rest (an HTTP range request) and starts again only where the server cannot do
    that. The file appears under its name only once its checksum holds.

    Args:
        url: http(s) address.
        target: file to write; its folder is made.
        sha256: expected SHA-256, hexadecimal.
        timeout: seconds without a byte before giving up.
        progress: show a progress bar on standard error.

    Raises:
        DataError: no connection, broken connection, wrong checksum, or no space; the message says
            whether to try again.
    """
    target = Path(target)
    if target.is_file() and _sha256(target) == sha256:
        return target
    part = target.with_name(target.name + ".part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _fetch(url, part, timeout, progress)
    except urllib.error.HTTPError as error:
        raise DataError(
            f"{url}: the server answered {error.code} {error.reason}; try again later"
        ) from error
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        ssl.SSLError,
        ConnectionError,
        TimeoutError,
    ) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(
            f"{url}: the connection failed ({reason}); run the same command again to go on from "
            f"here"
        ) from error
    except OSError as error:
        raise DataError(
            f"{part}: cannot be written ({error.strerror or error}); free some space and run again"
        ) from error
    if (found := _sha256(part)) != sha256:
        part.unlink()
        raise DataError(
            f"{url}: what arrived has SHA-256 {found[:16]}..., not {sha256[:16]}...; it was "
            f"deleted, run again"
        )
    os.replace(part, target)
    return target


def _fetch(url: str, part: Path, timeout: float, progress: bool) -> None:
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code == 416 and have:  # nothing is left to send; the checksum is verified later
            return
        raise
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn(part.stem),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    shown = progress and console.is_terminal
    with response, Progress(*columns, console=console, disable=not shown, transient=True) as bar:
        resumed = response.status == 206
        have = have if resumed else 0
        length = response.headers.get("Content-Length")
        total = have + int(length) if length else None
        task = bar.add_task(part.stem, total=total, completed=have)
        with part.open("ab" if resumed else "wb") as out:
            while block := response.read(_BLOCK):
                out.write(block)
                have += len(block)
                bar.advance(task, len(block))
        # read() ends without an error when the server closes the connection early.
        if total is not None and have < total:
            raise ConnectionError(f"{have:,} of {total:,} bytes arrived")


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
