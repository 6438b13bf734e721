"""`bridgerec recommend`: one answer of the packaged winner, without a server."""

from typing import Annotated, Any

import typer

from bridgerec.cli.options import HERE, Debug, Directory
from bridgerec.config import Workspace, wrong_keys
from bridgerec.errors import ConfigError


def answer(workspace: Workspace, request: dict[str, Any]) -> dict[str, Any]:
    """What the service would answer to `request` (see the service's /docs).

    Raises:
        ConfigError: the request is not what the service accepts.
        ArtifactError: nothing is packaged yet.
    """
    from pydantic import ValidationError

    from bridgerec.registry.bundle import find_bundle
    from bridgerec.serving.ranker import Recommender
    from bridgerec.serving.schemas import RecommendRequest

    try:
        checked = RecommendRequest.model_validate(request)
    except ValidationError as error:
        wrong = wrong_keys(error)
        raise ConfigError(f"the request is not valid: {wrong}. Correct the options.") from error
    recommender = Recommender.open(find_bundle(workspace.bento))
    response: dict[str, Any] = recommender.recommend(checked)
    return response


def table(response: dict[str, Any], title: str) -> Any:
    """A rich table of the recommended items."""
    from rich.table import Table

    how = f"route: {response['route']}, by {response['candidate']}"
    found = Table(title=f"{title} — {how}", title_justify="left")
    for column in ("", "title", "category", "score"):
        found.add_column(column, justify="right" if column in ("", "score") else "left")
    for item in response["items"]:
        found.add_row(
            str(item["rank"]), item["title"], item.get("category") or "", f"{item['score']:.3f}"
        )
    return found


def recommend(
    target: Annotated[str, typer.Argument(help="The domain to recommend from, such as films.")],
    user: Annotated[str | None, typer.Option(help="A known person's id.")] = None,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", help="DOMAIN:ITEM_ID the person liked; repeat, oldest first."),
    ] = None,
    k: Annotated[int, typer.Option(min=1, help="How many items.")] = 10,
    directory: Directory = HERE,
    debug: Debug = False,
) -> None:
    """Recommend items of a domain for a person, or for a history given here."""
    from rich.console import Console

    history = []
    for text in item or []:
        domain, separator, item_id = text.partition(":")
        if not separator:
            raise ConfigError(f"--item {text!r}: write DOMAIN:ITEM_ID.")
        history.append({"domain": domain, "item_id": item_id})
    request: dict[str, Any] = {"target": target, "k": k, "history": history}
    if user is not None:
        request["user_id"] = user
    response = answer(Workspace.open(directory), request)
    console = Console()
    console.print(table(response, f"{target} for {user or 'this history'}"))
    for note in response.get("notes", []):
        console.print(f"  · {note}", markup=False)
