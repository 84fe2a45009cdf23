"""The server's addresses: the page, uploads, computations and results. Every error is {"error": "One sentence."}."""

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, FiniteFloat
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from hmr_commands.demo import predicting
from hmr_commands.demo.guard import Guard
from hmr_commands.demo.limits import Limits
from hmr_commands.demo.storage import Kept, Storage
from hmr_commands.demo.worker import FAILED, Job, QueueFull, Worker
from hmr_jax import __version__
from hmr_jax.inference import Predictor

_PAGE = Path(__file__).parent / "page"
_SAMPLE = Path(__file__).parents[2] / "examples" / "photos" / "beam.jpg"  # in a checkout only
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
_GONE = "This is not here, or no longer: choose the image again."
_PICTURES = ("overlay.jpg", "views.jpg")
# The viewer holds its program itself. It gets an origin of its own, which may reach nothing but what it contains.
_VIEWER = {
    "Content-Security-Policy": "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
    "connect-src data: blob:; img-src data: blob:; frame-ancestors 'self'; sandbox allow-scripts",
    "X-Frame-Options": "SAMEORIGIN",
}
_SWEEP = 15.0  # seconds


class PeopleRequest(BaseModel):
    """What a prediction is asked for with."""

    model_config = ConfigDict(extra="forbid")

    boxes: list[tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]]
    """Left, top, right, bottom, px."""
    focal_length: FiniteFloat | None = None
    """In px; None: that of EXIF, or the default."""


def make_app(
    predictor: Predictor, storage: Storage, worker: Worker, limits: Limits, host: str = "127.0.0.1"
) -> FastAPI:
    """The application of a server.

    Args:
        predictor: the network, with its detector.
        storage: of uploads and results; who made it closes it.
        worker: that computes; who made it stops it.
        limits: on requests.
        host: that the server is bound to.
    """

    @contextlib.asynccontextmanager
    async def sweeping(_: FastAPI) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(min(_SWEEP, limits.keep_seconds))
                await asyncio.to_thread(storage.sweep)
                worker.forget(limits.keep_seconds)

        task = asyncio.create_task(sweep())
        yield
        task.cancel()

    app = FastAPI(lifespan=sweeping, openapi_url=None, docs_url=None, redoc_url=None)
    app.add_middleware(Guard, limits=limits, host=host)
    files = {path.name: path.read_bytes() for path in _PAGE.iterdir() if path.suffix in _TYPES}

    def kept(name: str) -> Kept:
        try:
            return storage.get(name)
        except KeyError:
            raise HTTPException(404, _GONE) from None

    def submit(work: Any, owner: Kept) -> Job:
        try:
            return worker.submit(work)
        except QueueFull:
            storage.remove(owner.id)
            raise HTTPException(429, "The server is busy: try again in a minute.", {"Retry-After": "60"}) from None

    @app.get("/")
    def page() -> Response:
        return Response(files["index.html"], media_type=_TYPES[".html"])

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in files:
            raise HTTPException(404, "There is no such file.")
        return Response(files[name], media_type=_TYPES[Path(name).suffix])

    @app.get("/sample.jpg")
    def sample() -> Response:
        if not _SAMPLE.is_file():
            raise HTTPException(404, "This installation has no sample.")
        return FileResponse(_SAMPLE)

    @app.get("/api/about")
    def about() -> dict[str, Any]:
        return {
            "version": __version__,
            "checkpoint": predictor.checkpoint["name"],
            "upload_bytes": limits.upload_bytes,
            "people": limits.people,
            "keep_minutes": round(limits.keep_seconds / 60, 1),
            "has_sample": _SAMPLE.is_file(),
        }

    @app.post("/api/images", status_code=202)
    async def upload(request: Request) -> dict[str, str]:
        made = await asyncio.to_thread(storage.new)
        try:
            await _receive(request, made.folder / "image", limits.upload_seconds)
        except BaseException:
            storage.remove(made.id)
            raise
        return {"image": made.id, "job": submit(functools.partial(predicting.look_at, predictor, made), made).id}

    @app.post("/api/images/{name}/people", status_code=202)
    def people(name: str, wanted: PeopleRequest) -> dict[str, str]:
        image = kept(name)
        try:
            boxes = predicting.check_request(image, wanted.boxes, wanted.focal_length, limits.people)
            result = storage.new(image)
        except ValueError as error:
            raise HTTPException(400, str(error)) from None
        except KeyError:
            raise HTTPException(404, _GONE) from None
        work = functools.partial(predicting.predict, predictor, image, result, boxes, wanted.focal_length)
        return {"job": submit(work, result).id}

    @app.get("/api/jobs/{name}")
    def job(name: str) -> dict[str, Any]:
        try:
            found = worker.get(name)
        except KeyError:
            raise HTTPException(404, _GONE) from None
        state = found.state  # first: it is written last
        said = {"state": state, "stage": found.stage, "ahead": worker.ahead(found)}
        return said | ({"result": found.result} if state == "done" else {"error": found.error or None})

    @app.get("/api/images/{name}")
    def is_kept(name: str) -> dict[str, str]:
        return {"image": kept(name).id}  # a page that is open asks now and then, which is a use

    @app.get("/api/images/{name}/shown.jpg")
    def shown(name: str) -> Response:
        return _file(kept(name).folder / "shown.jpg")

    @app.delete("/api/images/{name}", status_code=204)
    def delete(name: str) -> None:
        storage.remove(kept(name).id)

    @app.get("/api/results/{name}/bodies/{which}")
    def bodies(name: str, which: str) -> Response:
        result = kept(name)
        if which != "all" and not (which.isdecimal() and int(which) < result.facts.get("people", 0)):
            raise HTTPException(404, "There is no such person.")
        try:
            return HTMLResponse(predicting.body_page(result, None if which == "all" else int(which)), headers=_VIEWER)
        except FileNotFoundError:
            raise HTTPException(404, _GONE) from None

    @app.get("/api/results/{name}/{file}")
    def result(name: str, file: str) -> Response:
        folder = kept(name).folder
        if file in _PICTURES:
            return _file(folder / file)
        if file in predicting.RESULTS:
            return _file(folder / predicting.RESULTS[file], file)
        raise HTTPException(404, "There is no such file.")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        text = 'Send {"boxes": [[left, top, right, bottom], ...], "focal_length": px or null}, all finite numbers.'
        return JSONResponse({"error": text}, 400)

    @app.exception_handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": FAILED}, 500)

    return app


async def _receive(request: Request, path: Path, seconds: float) -> None:
    """Writes the body of a request to a file while it arrives."""
    size = 0
    try:
        async with asyncio.timeout(seconds):
            with path.open("wb") as file:
                async for chunk in request.stream():
                    size += len(chunk)
                    file.write(chunk)
    except TimeoutError:
        raise HTTPException(408, f"The image did not arrive within {seconds:g} s.", {"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400, "The upload was broken off.") from None
    if not size:
        raise HTTPException(400, "The upload is empty: send an image.")


def _file(path: Path, download: str | None = None) -> Response:
    """A file whole: it may be deleted at any time."""
    types = {".jpg": "image/jpeg", ".json": "application/json", ".glb": "model/gltf-binary"}
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise HTTPException(404, _GONE) from None
    headers = {"Content-Disposition": f'attachment; filename="{download}"'} if download else {}
    return Response(data, headers=headers, media_type=types.get(path.suffix, "application/octet-stream"))
