"""Bodies: JSON, and not too long."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bridgerec.serving.guard.answers import refuse


class BodyLimit:
    """Answers 413 to a body that is announced or turns out to be too long, 415 to one that does
    not call itself JSON; the application gets the body in one piece."""

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self.app, self.limit = app, limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self.limit:
            await self._too_long(scope, send)
            return
        parts, length = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return  # nobody waits for an answer
            parts.append(message.get("body", b""))
            length += len(parts[-1])
            if length > self.limit:
                await self._too_long(scope, send)
                return
            if not message.get("more_body"):
                break
        if length and not is_json(headers.get(b"content-type", b"")):
            remedy = "Send JSON with `Content-Type: application/json`."
            await refuse(scope, send, 415, "not_json", "the body is not called JSON", remedy)
            return
        sent = False

        async def replay() -> Message:
            nonlocal sent
            if sent:
                return await receive()
            sent = True
            return {"type": "http.request", "body": b"".join(parts), "more_body": False}

        await self.app(scope, replay, send)

    async def _too_long(self, scope: Scope, send: Send) -> None:
        remedy = f"Send at most {self.limit} bytes."
        await refuse(scope, send, 413, "too_large", "the body is too long", remedy)


def is_json(content_type: bytes) -> bool:
    """Whether a Content-Type is JSON's: a web page of another site cannot send that unasked."""
    media = content_type.partition(b";")[0].strip().lower()
    return media == b"application/json" or (
        media.startswith(b"application/") and media.endswith(b"+json")
    )
