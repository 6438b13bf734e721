"""`bridgerec init` among a user's own files."""

import runpy
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
import yaml
from typer.testing import CliRunner

from bridgerec.cli.app import app
from bridgerec.cli.init import create
from bridgerec.config import Workspace
from bridgerec.data.encode import encode_catalogue
from bridgerec.data.images import image_files
from bridgerec.errors import BridgeRecError, ConfigError, DataError, ValidationFailed
from bridgerec.runtime import read_json
from bridgerec.validation.run import validate
from helpers import REPOSITORY

Tables = dict[str, tuple[Path, Path]]


@pytest.fixture
def tables(small_workspace: Workspace) -> Tables:
    folder = small_workspace.root / "data"
    return {
        d: (folder / d / "interactions.csv", folder / d / "items.csv") for d in ("left", "right")
    }


def content(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "name", ["dvc.yaml", "bentofile.yaml", "expectations/items.json", "data/left/x.csv", "data.dvc"]
)
def test_nothing_that_exists_is_overwritten(tables: Tables, tmp_path: Path, name: str) -> None:
    root = tmp_path / "new"
    (root / name).parent.mkdir(parents=True)
    (root / name).write_text("mine")
    with pytest.raises(ConfigError, match="exists already") as error:
        create(root, tables, ())
    assert name.removesuffix("/items.json").removesuffix("/x.csv") in str(error.value)
    assert content(root) == {name: b"mine"}


def test_gitignore_grows_and_other_files_stay(tables: Tables, tmp_path: Path) -> None:
    root = tmp_path / "new"
    root.mkdir()
    (root / ".gitignore").write_text("*.log\n/reports/")
    (root / "notes.txt").write_text("mine")
    create(root, tables, ())
    lines = (root / ".gitignore").read_text().splitlines()
    assert lines[:2] == ["*.log", "/reports/"]
    assert {"/data", "/artifacts/", "/traffic/"} < set(lines)
    assert lines.count("/reports/") == 1
    assert (root / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("stage", ["table", "dvc"])
def test_a_failure_leaves_nothing_behind(
    tables: Tables, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    root = tmp_path / "new"
    if stage == "table":
        tables["right"][1].write_bytes(b'item_id,title\n"r00,\xff\n')
        error: type[Exception] = DataError
    else:

        def fail(root: Path) -> None:
            (root / ".dvc").mkdir()
            raise BridgeRecError("dvc")

        monkeypatch.setattr("bridgerec.cli.init._version", fail)
        error = BridgeRecError
    with pytest.raises(error):
        create(root / "deep", tables, ())
    assert not root.exists()
    root.mkdir()
    (root / ".gitignore").write_text("*.log\n")
    (root / "data").mkdir()
    (root / "data" / "raw.csv").write_text("mine")
    before = content(root)
    with pytest.raises(error):
        create(root, tables, ())
    assert content(root) == before
    assert sorted(p.name for p in root.rglob("*")) == [".gitignore", "data", "raw.csv"]


def test_a_text_among_numbers_is_kept_for_validate(tables: Tables, tmp_path: Path) -> None:
    path = tables["left"][0]
    rows = pl.read_csv(path).with_columns(pl.lit("1.5").alias("value"))
    rows[7, "value"] = "many"
    rows.write_csv(path)
    create(tmp_path / "new", tables, ())
    found = pl.read_parquet(tmp_path / "new" / "data" / "left" / "interactions.parquet")
    assert found["value"][7] == "many"
    assert found.schema["timestamp"] == pl.Int64


def test_prices_with_a_currency_are_told_and_kept_for_validate(
    tables: Tables, tmp_path: Path
) -> None:
    path = tables["left"][1]
    items = pl.read_csv(path)
    prices = ["$9.99", "1.299,00 €", "-1", *["7.5"] * (items.height - 3)]
    items.with_columns(pl.Series("price", prices), pl.lit("", pl.String).alias("brand")).write_csv(
        path, quote_style="non_numeric"
    )
    domains = [f"--domain={name}={','.join(map(str, both))}" for name, both in tables.items()]
    found = CliRunner().invoke(app, ["init", str(tmp_path / "new"), *domains])
    assert found.exit_code == 0, found.exception
    told = [line for line in found.stdout.splitlines() if "holds prices" in line]
    assert len(told) == 1
    assert "left/items" in told[0]
    assert "(3 of 30)" in told[0]
    assert "For example '$9.99', '1.299,00 €', '-1'." in told[0]
    with suppress(ValidationFailed):
        validate(Workspace.open(tmp_path / "new"))
    verdict = read_json(tmp_path / "new" / "reports" / "validation" / "verdict.json")
    (finding,) = [f for f in verdict["findings"] if f["check"] == "mistyped_price"]
    assert (finding["domain"], finding["severity"], finding["count"]) == ("left", "warning", 3)
    # the brand is there and empty, other columns are absent from the tables, which is no fault
    (finding,) = [f for f in verdict["findings"] if f["check"] == "empty_text"]
    assert (finding["domain"], finding["count"]) == ("left", 30)
    assert finding["message"].endswith(": brand")


def test_paths_start_at_the_directory_option(tables: Tables, tmp_path: Path) -> None:
    domain = "my-shop=data/left/interactions.csv,data/left/items.csv"
    arguments = ["init", "shop", "-C", str(tmp_path), "--domain", domain]
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 0, found.exception
    assert Workspace.open(tmp_path / "shop").params.target_domains == ("my-shop",)


@pytest.mark.parametrize(
    ("domains", "message"),
    [
        (["a=x.csv,y.csv", "a=z.csv,y.csv"], "given twice"),
        (["my shop=x.csv,y.csv"], "must begin with a letter"),
        (["../up=x.csv,y.csv"], "must begin with a letter"),
        (["a=x.csv"], "two tables"),
        (["a=x.csv,"], "two tables"),
    ],
)
def test_wrong_domains(tmp_path: Path, domains: list[str], message: str) -> None:
    arguments = ["init", str(tmp_path / "new"), *(f"--domain={d}" for d in domains)]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, ConfigError)
    assert message in str(found.exception)
    assert not (tmp_path / "new").exists()


def test_images_come_along(tables: Tables, tmp_path: Path) -> None:
    path = tables["left"][1]
    (path.parent / "shots").mkdir()
    (path.parent / "shots" / "a.png").write_bytes(b"picture")
    (path.parent.parent / "secret.png").write_bytes(b"elsewhere")
    items = pl.read_csv(path)
    images = ["shots/a.png", "../secret.png", "gone.png", *[""] * (items.height - 3)]
    items.with_columns(pl.Series("image", images)).write_csv(path)
    root = tmp_path / "new"
    create(root, tables, ())
    copied = {p.relative_to(root / "data").as_posix() for p in (root / "data").rglob("*.png")}
    assert copied == {"left/shots/a.png"}
    catalogue = encode_catalogue(Workspace(root), Workspace(root).params)
    found = image_files(Workspace(root), catalogue)
    assert found[0] == root / "data" / "left" / "shots" / "a.png"
    assert found[0].read_bytes() == b"picture"
    assert [place is None for place in found[:4]] == [False, False, False, True]
    assert found[30:] == [None] * 30


def test_the_flows_are_the_installed_ones(tables: Tables, tmp_path: Path) -> None:
    root = tmp_path / "new"
    create(root, tables, ())
    assert (root / "prefect.yaml").read_bytes() == (REPOSITORY / "prefect.yaml").read_bytes()
    declared = yaml.safe_load((root / "prefect.yaml").read_text())["deployments"]
    for deployment in declared:
        path, _, name = deployment["entrypoint"].partition(":")
        found = runpy.run_path(str(root / path))[name]
        assert found.fn.__module__ == f"bridgerec.flows.{Path(path).stem}"
    assert {p.name for p in (root / "flows").iterdir()} == {
        Path(d["entrypoint"].partition(":")[0]).name for d in declared
    }


def test_tables_with_an_order_alone_have_no_recent_candidates(
    tables: Tables, tmp_path: Path
) -> None:
    ordered = {}
    for domain, (interactions, items) in tables.items():
        rows = pl.read_csv(interactions).sort("timestamp").drop("timestamp")
        path = tmp_path / f"{domain}.csv"
        rows.with_columns(position=pl.int_range(pl.len()).over("user_id")).write_csv(path)
        ordered[domain] = (path, items)
    create(tmp_path / "new", ordered, ())
    params = Workspace.open(tmp_path / "new").params
    assert params.gate.protocol == "leave_last"
    assert params.blend is not None
    assert not [c for c in (*params.candidates, *params.blend.members) if c.endswith("d")]


def test_quick_leaves_the_slow_candidates_out(tables: Tables, tmp_path: Path) -> None:
    create(tmp_path / "full", tables, ())
    create(tmp_path / "quick", tables, (), quick=True)
    full, quick = (Workspace.open(tmp_path / name).params for name in ("full", "quick"))
    left_out = set(full.candidates) - set(quick.candidates)
    assert "sequence" in left_out
    assert {"popularity", "item_knn", "ease_text", "two_tower", "emcdr"} <= set(quick.candidates)
    assert full.blend is not None
    assert quick.blend is not None
    assert set(full.blend.members) - left_out == set(quick.blend.members)
    assert quick.models == full.models  # to be added again
