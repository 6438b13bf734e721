"""The mapping of accounts to people: does it name one person for each account, and all of them?"""

from collections.abc import Iterator

import polars as pl

from bridgerec.config import Params, Workspace
from bridgerec.data.readers import TableProblem, read_identities
from bridgerec.validation.derive import examples
from bridgerec.validation.finding import Finding


def check_identities(
    workspace: Workspace, params: Params
) -> tuple[pl.DataFrame | None, list[Finding]]:
    """The mapping of accounts to people, None without a readable one; and what is wrong in it."""
    table = params.data.identities
    if table is None:
        return None, []
    domains = "+".join(params.data.domains)
    try:
        identities = read_identities(workspace, table)
    except TableProblem as error:
        return None, [
            Finding(
                domains, "identities", error.check, "critical",
                f"{table} {error.problem}", error.remedy,
            )
        ]  # fmt: skip
    account = pl.struct("domain", "user_id")
    count, shown = examples(identities, account.is_duplicated(), params.validation.examples)
    if not count:
        return identities, []
    return identities, [
        Finding(
            domains, "identities", "ambiguous_identities", "critical",
            f"{table} gives the same account (domain, user_id) to several people",
            "Keep one person_id for each account", count, identities.height,
            [{k: v for k, v in row.items() if k != "row"} for row in shown],
        )
    ]  # fmt: skip


def check_unlisted(
    params: Params, tables: dict[str, pl.DataFrame], identities: pl.DataFrame
) -> Iterator[Finding]:
    """Accounts that the mapping does not list and whose ids it gives to people.

    Such an account is taken for that person, which is what a mapping means that lists the accounts
    of the other domains only.  In a domain of which it lists accounts it may well be somebody else.
    """
    people = identities.select(
        pl.col("person_id").alias("user_id"), listed=pl.format("{}/{}", "domain", "user_id")
    ).unique("user_id", keep="first", maintain_order=True)  # fmt: skip
    for name, rows in tables.items():
        own = identities.filter(pl.col("domain") == name)
        if own.is_empty():
            continue
        accounts = rows.select(pl.col("user_id").drop_nulls().unique())
        unlisted = accounts.join(own, on="user_id", how="anti")
        found = unlisted.join(people, on="user_id", how="inner").sort("user_id")
        if found.height:
            yield Finding(
                name, "interactions", "unlisted_accounts", "warning",
                f"accounts that {params.data.identities} does not list have ids that it gives to "
                "people, and are taken for them",
                "List these accounts with their person_id, each with one of its own if it is "
                "somebody else",
                found.height, accounts.height,
                found.rename({"listed": "the same person as"})
                .head(params.validation.examples).to_dicts(),
            )  # fmt: skip
