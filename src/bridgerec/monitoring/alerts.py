"""Telling a webhook of drift.  A webhook that fails is reported and stops nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

ATTEMPTS = 3
TIMEOUT = 10.0  # seconds


@dataclass(frozen=True)
class Delivery:
    """Whether the webhook took the message, after how many attempts, and if not, why.  Only the
    host is named: the rest of such an address is often a secret."""

    host: str
    delivered: bool
    attempts: int
    error: str | None

    @property
    def words(self) -> str:
        if self.delivered:
            return f"the webhook at {self.host} was told"
        return f"the webhook at {self.host} was NOT told, after {self.attempts} tries: {self.error}"


def send(url: str, message: dict[str, Any], wait: Callable[[float], None] = time.sleep) -> Delivery:
    """POST `message` as JSON; try again on no connection, a server's error or 429."""
    import httpx

    host = urlsplit(url).hostname or "?"
    error = None
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = httpx.post(url, json=message, timeout=TIMEOUT)
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            error = type(problem).__name__
        else:
            if answer.is_success:
                return Delivery(host, True, attempt, None)
            error = f"it answered {answer.status_code}"
            if answer.status_code < 500 and answer.status_code != 429:
                return Delivery(host, False, attempt, error)
        if attempt < ATTEMPTS:
            wait(2.0 ** (attempt - 1))
    return Delivery(host, False, ATTEMPTS, error)
