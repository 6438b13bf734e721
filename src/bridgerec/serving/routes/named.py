"""Who may name the release that is to answer."""

from fastapi import Request

from bridgerec.serving.problems import Forbidden


def may_name(request: Request, release: str | None) -> None:
    """Let pass who names no release, and holders of an admin key: all others get the release whose
    turn it is.

    Raises:
        Forbidden: the key that the guard found lacks the role.
    """
    key = getattr(request.state, "key", None)
    if release is not None and (key is None or "admin" not in key.roles):
        raise Forbidden("naming a `release` needs a key with the role admin")
