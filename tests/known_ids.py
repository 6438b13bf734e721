"""Makes most of what a fuzz sends name what there is: targets, items, people, releases."""

from typing import Any
from zlib import crc32

import httpx
import schemathesis

STRANGE = 5  # one of so many values stays as it was made up


class Known:
    """Real values for the fields of requests; the same made-up value is always replaced by the
    same real one, so that a failing case can be shrunk and repeated."""

    def __init__(self, url: str, headers: dict[str, str], bento: str) -> None:
        def get(path: str, **query: Any) -> Any:
            return httpx.get(f"{url}{path}", params=query, headers=headers, timeout=30).json()

        domains = sorted({item["domain"] for item in get("/items", limit=1000)["items"]})
        self.domain_of = {
            item["item_id"]: domain
            for domain in domains
            for item in get("/items", domain=domain, limit=5)["items"]
        }
        self.values: dict[str, list[Any]] = {
            "target": domains,
            "domain": domains,
            "item_id": [*self.domain_of],
            "user_id": get("/users", limit=20)["users"],
            "release": [get("/release")["release"]],
            "kind": ["view", "like"],
            "k": [1, 10, 200],
            "timestamp": [0, 1_700_000_000],
            "bento": [bento],
        }

    def in_place_of(self, value: Any) -> Any:
        """A body, query or path with real values in most places."""
        if isinstance(value, list):
            return [self.in_place_of(one) for one in value]
        if not isinstance(value, dict):
            return value
        found = {name: self._field(name, given) for name, given in value.items()}
        if found.get("item_id") in self.domain_of and "domain" in found:
            found["domain"] = self.domain_of[found["item_id"]]
        return found

    def _field(self, name: str, given: Any) -> Any:
        own = self.values.get(name)
        if own is None or given is None:
            return self.in_place_of(given)
        if isinstance(given, list):
            return [self._field(name, one) for one in given]
        number = crc32(repr(given).encode("utf-8", "replace"))
        return given if number % STRANGE == 0 else own[number % len(own)]

    def install(self, schema: schemathesis.BaseSchema) -> None:
        """Let the schema's cases pass through here."""
        for part in ("body", "query", "path_parameters"):

            def replaced(context: Any, value: Any) -> Any:
                return self.in_place_of(value)

            schema.hook(f"map_{part}")(replaced)
