"""What every request passes: which pages may send it, how large it is, how often; and the headers of every answer.

The server has no login. So that no page of another site can use it through the user's browser, a request must name this
server as its host (against DNS rebinding) and come from a page of this server.
"""

import ipaddress
import math
import socket
import time
from collections import defaultdict, deque
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hmr_commands.demo.limits import Limits

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob:; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Of every answer that does not set them itself."""
_BODIES = ("application/json", "application/octet-stream", "image/")  # no form of another page can send these
_MOST_CLIENTS = 10_000


def is_loopback(host: str) -> bool:
    """Whether only this computer can reach a server at this host."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class Guard:
    """The outermost layer of the application (ASGI)."""

    def __init__(self, app: ASGIApp, limits: Limits, host: str):
        """Wraps an application.

        Args:
            app: that gets what passes.
            limits: on requests.
            host: that the server is bound to.
        """
        self._app, self._limits = app, limits
        self._host, self._open = host, not is_loopback(host)
        self._times: dict[str, deque[float]] = defaultdict(deque)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            self._check(scope)
        except HTTPException as refusal:
            answer = JSONResponse({"error": refusal.detail}, refusal.status_code, refusal.headers)
            await answer(scope, receive, send_with_headers)
            return
        await self._app(scope, self._limited(scope, receive), send_with_headers)

    def _check(self, scope: Scope) -> None:
        headers, method = Headers(scope=scope), scope["method"]
        host = headers.get("host", "")
        if not self._is_own(host):
            raise HTTPException(403, "This server answers to its own address only: open the address that it printed.")
        site = headers.get("sec-fetch-site", "none")
        visit = method in ("GET", "HEAD") and scope["path"] == "/"
        if not visit and site not in ("same-origin", "none"):
            raise HTTPException(403, "Pages of other sites may not use this server.")
        if method in ("GET", "HEAD"):
            return
        origin = headers.get("origin")
        if origin is not None and origin != f"{scope['scheme']}://{host}":
            raise HTTPException(403, "Pages of other sites may not use this server.")
        if method == "POST":
            if not headers.get("content-type", "").startswith(_BODIES):
                raise HTTPException(415, "Send an image as application/octet-stream, and boxes as application/json.")
            self._count(scope["client"][0] if scope.get("client") else "")
            length = headers.get("content-length", "")
            if length.isdecimal() and int(length) > self._most(scope):
                raise self._too_large(scope)

    def _is_own(self, host: str) -> bool:
        """Whether a Host header names this server. An address is no name that somebody else's DNS could point here."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if is_loopback(name) or name == self._host:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return self._open and name == socket.gethostname().lower()
        return self._open

    def _count(self, client: str) -> None:
        """Counts a request; raises HTTPException if the client has sent too many within a minute."""
        now = time.monotonic()
        if len(self._times) > _MOST_CLIENTS:
            self._times.clear()
        times = self._times[client]
        while times and times[0] <= now - 60:
            times.popleft()
        if len(times) >= self._limits.requests_per_minute:
            seconds = max(math.ceil(times[0] + 60 - now), 1)
            text = f"More than {self._limits.requests_per_minute} requests within a minute: wait {seconds} s."
            raise HTTPException(429, text, {"Retry-After": str(seconds)})
        times.append(now)

    def _limited(self, scope: Scope, receive: Receive) -> Receive:
        """`receive` that ends a request whose body is too large while it arrives."""
        read = 0

        async def limited() -> Message:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self._most(scope):
                raise self._too_large(scope)
            return message

        return limited

    def _most(self, scope: Scope) -> int:
        """Bytes that a request may have."""
        return self._limits.upload_bytes if scope["path"] == "/api/images" else self._limits.message_bytes

    def _too_large(self, scope: Scope) -> HTTPException:
        most = self._most(scope)
        size = f"{most / 2**20:g} MiB" if most >= 2**20 else f"{most / 2**10:g} KiB"
        what = "image" if scope["path"] == "/api/images" else "request"
        return HTTPException(413, f"The {what} has more than {size}: shrink it first.", {"Connection": "close"})
