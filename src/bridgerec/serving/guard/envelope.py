"""Around everything: the request id, the security headers, and errors in one shape."""

import re

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridgerec.serving.guard.answers import DEFAULTS, refuse, reshaped, state
from bridgerec.serving.guard.log import RequestLog
from bridgerec.serving.guard.paths import is_static
from bridgerec.serving.problems import new_id

SANE = re.compile(rb"[A-Za-z0-9._-]{1,64}")
LONGEST_ERROR = 65_536  # bytes; a longer one is no message of ours and passes as it is
# pictures of items may come from anywhere that is encrypted; nothing else leaves the page's host
POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data: https:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"content-security-policy", POLICY),
    (b"referrer-policy", b"no-referrer"),
)
UNKEPT = (b"cache-control", b"no-store")
NAMES = frozenset({b"x-request-id", *(name for name, _ in SECURITY)})


def request_id(scope: Scope) -> str:
    """The id that the client sent, if it is harmless, else a new one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id" and SANE.fullmatch(value):
            return str(value, "ascii")
    return new_id()


class Envelope:
    """Every answer, whoever made it, leaves through here."""

    def __init__(self, app: ASGIApp, log: RequestLog) -> None:
        self.app, self.log = app, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":  # the service has none
            await send({"type": "websocket.close", "code": 1008})
            return
        about = state(scope)
        about["request_id"] = request_id(scope)
        leaving = _Leaving(scope, send, about["request_id"])
        try:
            await self.app(scope, receive, leaving)
        except Exception as error:
            self.log.failure(about["request_id"], error)
            if not leaving.started:
                await refuse(scope, leaving, 500, *DEFAULTS[500])


class _Leaving:
    """`send` of one request: adds headers, holds an error back until its body is complete."""

    def __init__(self, scope: Scope, send: Send, request_id: str) -> None:
        self.scope, self.send, self.request_id = scope, send, request_id
        self.started = False
        self.held: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            kept = [(n, v) for n, v in message.get("headers", []) if n.lower() not in NAMES]
            own = [(b"x-request-id", self.request_id.encode()), *SECURITY]
            if not is_static(self.scope["path"]):
                kept = [(n, v) for n, v in kept if n.lower() != UNKEPT[0]]
                own.append(UNKEPT)
            message = {**message, "headers": kept + own}
            if message["status"] >= 400:
                self.held, self.body = message, b""
                return
            self.started = True
        elif self.held is not None and message["type"] == "http.response.body":
            self.body += message.get("body", b"")
            if message.get("more_body") and len(self.body) <= LONGEST_ERROR:
                return
            start, self.held = self.held, None
            if len(self.body) <= LONGEST_ERROR:
                start, self.body = self._one_shape(start, self.body)
            self.started = True
            await self.send(start)
            message = {**message, "body": self.body}
        await self.send(message)

    def _one_shape(self, start: Message, body: bytes) -> tuple[Message, bytes]:
        body, state(self.scope)["refusal"] = reshaped(start["status"], body, self.request_id)
        dropped = (b"content-type", b"content-length")
        headers = [(n, v) for n, v in start["headers"] if n.lower() not in dropped]
        headers.append((b"content-type", b"application/json"))
        headers.append((b"content-length", str(len(body)).encode()))
        return {**start, "headers": headers}, b"" if self.scope["method"] == "HEAD" else body
