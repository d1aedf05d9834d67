"""The built page in; its files out, held in memory, compressed once. Without a build: one plain page with the latest values.

Every path that is no file and no API answers with index.html: the page's own addresses are its routes. A file whose name holds a
hash never changes, so a browser may keep it for ever.
"""

import gzip
import mimetypes
import re
from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import msgspec
from fastapi import APIRouter, Depends, Request, Response
from msgspec import Struct

from hub.auth.guard import Allow, Asking, Guarded, Policy
from hub.context import Opened
from hub.fleet.category import Categories
from hub.fleet.stations import stations
from hub.http.documents import page
from hub.http.refusals import EVERYTHING, absent

DIST = Path(__file__).parent.parent / "web" / "dist"
HASHED = re.compile(r"-[A-Za-z0-9_-]{8,}\.[a-z0-9]+$")
FOR_EVER, ASK_FIRST = "public, max-age=31536000, immutable", "no-cache"
NO_PAGE = ("api/", "problems/", "assets/")
router = APIRouter(route_class=Guarded, dependencies=[Depends(Allow(Policy.PUBLIC))], include_in_schema=False)


class File(Struct, frozen=True):
    """One file of the build. `packed` is it in gzip, None where that saves nothing."""

    body: bytes
    packed: bytes | None
    media: str
    keep: str
    tag: str


def read(folder: Path = DIST) -> Mapping[str, File]:
    """The build's files by their path; empty when there is no build."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): _file(path) for path in found} if (folder / "index.html").is_file() else {}


@router.get(EVERYTHING)
def anything(path: str, request: Request, context: Opened, caller: Asking) -> Response:
    site: Mapping[str, File] = request.app.state.site
    if path in site:
        return _answer(request, site[path])
    if path.startswith(NO_PAGE) or (path and not site):
        raise absent(request)
    if site:
        return _answer(request, site["index.html"])
    categories: Categories = request.app.state.categories
    shown = msgspec.json.encode(stations(context.database, caller, categories, limit=100))
    return page("no-build.html", stations=msgspec.json.decode(shown))


def _answer(request: Request, file: File) -> Response:
    headers = {"Cache-Control": file.keep, "ETag": file.tag}
    if file.tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, media_type=file.media, headers=headers | {"Content-Encoding": "gzip"})
    return Response(file.body, media_type=file.media, headers=headers)


def _file(path: Path) -> File:
    body = path.read_bytes()
    packed = gzip.compress(body, 9, mtime=0)
    media = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".webmanifest":
        media = "application/manifest+json"
    keep = FOR_EVER if HASHED.search(path.name) else ASK_FIRST
    return File(
        body, packed if len(packed) < len(body) * 0.9 else None, media, keep, f'"{blake2b(body, digest_size=8).hexdigest()}"'
    )
