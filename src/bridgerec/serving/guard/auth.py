"""Who asks, and whether they may."""

import ipaddress
from functools import lru_cache

from starlette.types import ASGIApp, Receive, Scope, Send

from bridgerec.errors import BridgeRecError
from bridgerec.serving.guard.answers import refuse, state
from bridgerec.serving.guard.paths import needed
from bridgerec.serving.keys import Key, KeyRing

OPEN = Key(id="", name="open", roles=frozenset({"admin"}))  # who asks a service without keys


def given(scope: Scope) -> str | None:
    """The key of a request, from `Authorization: Bearer KEY` or `X-Api-Key: KEY`."""
    headers = dict(scope["headers"])
    scheme, _, key = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        key = headers.get(b"x-api-key", b"")
    return key.strip().decode("latin-1") or None


@lru_cache(1024)
def is_local(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Authenticated:
    """Answers 401 without a valid key and 403 without the role; `request.state.key` is the key.

    Without a key ring the service is open, but to this machine alone unless `open_to_all`:
    a container that listens everywhere must not become public by forgetting its keys.
    """

    def __init__(self, app: ASGIApp, ring: KeyRing | None, open_to_all: bool) -> None:
        self.app, self.ring, self.open_to_all = app, ring, open_to_all

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        roles = needed(scope["method"], scope["path"])
        if self.ring is None:
            client = scope.get("client")
            if not (self.open_to_all or client is None or is_local(client[0])):
                await refuse(scope, send, 403, "local_only", *LOCAL_ONLY)
                return
            state(scope)["key"] = OPEN
        elif roles:
            try:
                text = given(scope)
                key = self.ring.find(text) if text else None
            except BridgeRecError:  # its message names a path of the server
                await refuse(scope, send, 503, "keys_unreadable", *UNREADABLE)
                return
            if key is None:
                why = "the key is not valid" if text else "a key is needed"
                challenge = [(b"www-authenticate", b"Bearer")]
                await refuse(scope, send, 401, "unauthorized", why, SEND_KEY, challenge)
                return
            state(scope)["key"] = key
            if not key.roles & roles:
                why = f"this needs a key with the role {' or '.join(sorted(roles))}"
                await refuse(scope, send, 403, "forbidden", why, "Use another key.")
                return
        await self.app(scope, receive, send)


SEND_KEY = "Send it as `Authorization: Bearer KEY` or `X-Api-Key: KEY`."
LOCAL_ONLY = (
    "this service has no API keys and answers its own machine alone",
    "Make keys with `bridgerec keys add`, or start it with `bridgerec serve --open`.",
)
UNREADABLE = (
    "the file of API keys cannot be read, so nobody can be let in",
    "Whoever runs the service has to restore the file; `bridgerec keys list` tells what is wrong.",
)
