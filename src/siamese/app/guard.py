"""Guard: who may ask, and what browsers may do with an answer."""

from __future__ import annotations

import ipaddress
import socket

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OWN = ("localhost", "127.0.0.1", "::1")
HEADERS = {
    # Everything comes from here. Pictures are data that the page has made, or was answered.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets requests through that name this server, and come from its own page or from no page.

    * A Host header of another name is refused: a web site that lets its own name point to this
      machine (DNS rebinding) would otherwise be taken for this page.
    * A request that another web site has made is refused, by Origin and Sec-Fetch-Site, which
      browsers write and web sites cannot change. A link to the page may stand anywhere.

    Args:
        app: what is guarded.
        host: where the server listens. By an address for all (``0.0.0.0``, ``::``) every address in
            numbers is accepted, since rebinding needs a name, and the machine's own name.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self._app = app
        self._everywhere = host in ("0.0.0.0", "::", "")
        self._names = {*_OWN, host.lower()}
        if self._everywhere:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        reason = self._why_not(headers, scope["method"], scope["path"])
        if reason is None:
            await self._app(scope, receive, with_headers)
        else:
            refusal = JSONResponse({"error": reason}, 403)
            await refusal(scope, receive, with_headers)

    def _why_not(self, headers: Headers, method: str, path: str) -> str | None:
        """Why a request is refused; None where it is not."""
        given = headers.getlist("host")
        if len(given) != 1 or not self._is_known(_name_of(given[0])):
            return (
                "this server is not known by that name; open the address that the command printed"
            )
        origins = headers.getlist("origin")
        if any(origin.lower() != f"http://{given[0].lower()}" for origin in origins):
            return "a request of another web site; only the page itself may ask"
        site = headers.get("sec-fetch-site")
        link = method == "GET" and path == "/" and headers.get("sec-fetch-mode") == "navigate"
        if site not in (None, "same-origin", "none") and not link:
            return "a request of another web site; only the page itself may ask"
        return None

    def _is_known(self, name: str) -> bool:
        return name in self._names or (self._everywhere and _is_address(name))


def address(host: str, port: int) -> str:
    """Where a browser finds a server that listens at ``host``."""
    name = "localhost" if host in ("0.0.0.0", "::", "") else host
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def is_private(host: str) -> bool:
    """Whether only this machine can reach a server that listens at ``host``."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _name_of(host: str) -> str:
    """The name in a Host header, without its port, small."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
