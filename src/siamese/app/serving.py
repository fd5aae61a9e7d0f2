"""Serving the page: opens the place where it listens, and ends cleanly."""

from __future__ import annotations

import os
import socket

import uvicorn
from starlette.types import ASGIApp

from siamese.errors import ConfigError


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; what is wrong with a place is known before anything is loaded.

    Args:
        host: a name or an address of this machine.
        port: 0 to 65535; 0 lets the system choose one.

    Raises:
        ConfigError: no such place, or one that is taken.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"a port is a number from 0 to 65535, not {port}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, place = found[0]
        made = socket.socket(family, kind, protocol)
        if os.name == "posix":  # elsewhere it would let two programs listen at one place
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(place)
        made.listen()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot listen at {host}, port {port} ({reason}); give another one: --port 0 takes "
            f"any that is free"
        ) from error
    return made


def serve(app: ASGIApp, place: socket.socket) -> None:
    """Answer requests until the process is told to stop (Ctrl-C, SIGTERM).

    Nothing is logged but faults of the server itself: no names, no addresses.

    Raises:
        KeyboardInterrupt: stopped by Ctrl-C, after what was begun has been answered.
    """
    settings = uvicorn.Config(
        app,
        access_log=False,
        log_config=None,
        log_level="error",
        lifespan="off",
        ws="none",
        http="h11",
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_keep_alive=5,
        timeout_graceful_shutdown=5,
    )
    uvicorn.Server(settings).run(sockets=[place])
