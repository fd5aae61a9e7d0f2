"""The server behind the page: what is asked, and what answers."""

from __future__ import annotations

import importlib.resources
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from siamese.app import limits
from siamese.app.facts import bundle_facts
from siamese.app.guard import Guard
from siamese.app.limits import Refused, read_body, read_settings
from siamese.app.searches import Limit, found_people, gallery_facts, limited
from siamese.app.verdicts import Wanted, compared, judged, verifier_at
from siamese.app.words import error_for_visitor
from siamese.app.worker import Worker
from siamese.errors import SiameseError
from siamese.inference.gallery.gallery import Gallery
from siamese.inference.verifier import Verifier

if TYPE_CHECKING:  # evaluating needs torch, a verifier of an .onnx file does not
    from siamese.app.folder import FolderFigures

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True)
class Loaded:
    """What the page works with.

    Attributes:
        verifier: compares two photographs.
        gallery: is searched; its verifier is this one. None for none.
        folder: is evaluated. None for none.
    """

    verifier: Verifier
    gallery: Gallery | None = None
    folder: FolderFigures | None = None


class _Answers:
    """What answers each address; photographs are worked on one at a time."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._photographs = Worker(limits.MOST_WAITING)
        self._quick = Worker(limits.MOST_QUICK)  # sliding need not wait for photographs

    async def facts(self, request: Request) -> Response:
        """All that does not depend on a photograph."""
        gallery = self._loaded.gallery
        return JSONResponse(
            bundle_facts(self._loaded.verifier)
            | {
                "gallery": gallery and gallery_facts(gallery),
                "folder": self._loaded.folder is not None,
                "most": limits.MOST_PHOTOGRAPH,
            }
        )

    async def verify(self, request: Request) -> Response:
        """Two photographs, one after the other in the body: ``?first=`` bytes are the first's."""
        with self._photographs.place():
            most = 2 * limits.MOST_PHOTOGRAPH
            content = await read_body(request, limits.PHOTOGRAPHS, most)
            one, other = _divided(content, request.query_params.get("first", ""))
            found = await self._photographs.run(compared, self._loaded.verifier, one, other)
        return JSONResponse(found)

    async def judge(self, request: Request) -> Response:
        """Another threshold, and its verdict on a distance."""
        with self._quick.place():
            wanted = await read_settings(request, Wanted)
            return JSONResponse(await self._quick.run(judged, self._loaded.verifier, wanted))

    async def search(self, request: Request) -> Response:
        """A photograph, of which every face is searched."""
        gallery = self._gallery()
        with self._photographs.place():
            content = await read_body(request, limits.PHOTOGRAPHS, limits.MOST_PHOTOGRAPH)
            return JSONResponse(await self._photographs.run(found_people, gallery, content))

    async def limit(self, request: Request) -> Response:
        """Another threshold of a search."""
        gallery = self._gallery()
        with self._quick.place():
            wanted = await read_settings(request, Limit)
            return JSONResponse(await self._quick.run(limited, gallery, wanted))

    async def folder(self, request: Request) -> Response:
        """How far the evaluation is, or its figures."""
        return JSONResponse(self._folder().to_dict())

    async def figures(self, request: Request) -> Response:
        """The figures at another threshold."""
        with self._quick.place():
            wanted = await read_settings(request, Wanted)
            return JSONResponse(await self._quick.run(self._figures_at, wanted))

    def _figures_at(self, wanted: Wanted) -> dict[str, Any]:
        found = judged(self._loaded.verifier, wanted)
        at = verifier_at(self._loaded.verifier, wanted)
        return found | {"folder": self._folder().at(at.threshold)}

    def _gallery(self) -> Gallery:
        if self._loaded.gallery is None:
            raise Refused(404, "no gallery was given: siamese app --gallery GALLERY")
        return self._loaded.gallery

    def _folder(self) -> FolderFigures:
        if self._loaded.folder is None:
            raise Refused(404, "no people were given: siamese app --data PEOPLE")
        return self._loaded.folder


def make_app(loaded: Loaded, host: str = "127.0.0.1") -> ASGIApp:
    """The page and its answers, as an ASGI application.

    Args:
        loaded: what it works with.
        host: where the server listens; see :class:`siamese.app.guard.Guard`.
    """
    answers = _Answers(loaded)
    routes = [
        *(_file_route(path, file) for path, file in _files()),
        Route("/api/facts", answers.facts),
        Route("/api/verify", answers.verify, methods=["POST"]),
        Route("/api/judge", answers.judge, methods=["POST"]),
        Route("/api/search", answers.search, methods=["POST"]),
        Route("/api/search/limit", answers.limit, methods=["POST"]),
        Route("/api/folder", answers.folder),
        Route("/api/figures", answers.figures, methods=["POST"]),
    ]
    errors = {Refused: _refused, SiameseError: _said, HTTPException: _by_status}
    return Guard(Starlette(routes=routes, exception_handlers=errors), host)  # type: ignore[arg-type]


def _divided(content: bytes, first: str) -> tuple[bytes, bytes]:
    """The two photographs of a body."""
    if not (first.isascii() and first.isdigit() and 0 < len(first) < 16):
        raise Refused(400, "the request must say how long the first photograph is (?first=BYTES)")
    length = int(first)
    if not 0 < length < len(content):
        raise Refused(400, f"{len(content):,} bytes, of which {length:,} are the first photograph")
    for number, size in enumerate((length, len(content) - length)):
        if size > limits.MOST_PHOTOGRAPH:
            raise Refused(
                413, f"{size:,} bytes; at most {limits.MOST_PHOTOGRAPH:,} are taken", number
            )
    return content[:length], content[length:]


def _files() -> list[tuple[str, bytes]]:
    """The page's files, read once: what is asked for later is no path on the disk."""
    folder = importlib.resources.files("siamese.app") / "page"
    return sorted((file.name, file.read_bytes()) for file in folder.iterdir() if file.is_file())


def _file_route(name: str, content: bytes) -> Route:
    kind = _TYPES[name.rpartition(".")[2]]

    async def answer(request: Request) -> Response:
        return Response(content, media_type=kind)

    return Route("/" if name == "index.html" else f"/{name}", answer)


async def _refused(request: Request, error: Refused) -> Response:
    facts = {"error": str(error), "photograph": error.photograph}
    # What was not read of a body must not be taken for the next request.
    return JSONResponse(facts, error.status, {"Connection": "close"})


async def _said(request: Request, error: SiameseError) -> Response:
    return JSONResponse({"error": error_for_visitor(error)}, 422)


async def _by_status(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": error.detail}, error.status_code)
