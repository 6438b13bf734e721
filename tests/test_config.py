"""What params.yaml may not say, and how it is told."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from bridgerec.config import Params, load_params
from bridgerec.errors import ConfigError
from helpers import small_params

MODEL = {"use": "bridgerec.models.popularity:Popularity"}
TABLES = {"interactions": "a.csv", "items": "b.csv"}


def refused(path: Path, **changes: Any) -> str:
    """The message for the small params with these changes."""
    (path / "params.yaml").write_text(yaml.safe_dump(small_params(**changes)))
    with pytest.raises(ConfigError) as error:
        load_params(path / "params.yaml")
    return str(error.value)


@pytest.mark.parametrize("name", ["my shop", "../up", "a/b", "1st", "a\n", "", "écoles", "a.b"])
def test_names_that_cannot_be_folders_are_refused_with_their_key(tmp_path: Path, name: str) -> None:
    found = refused(tmp_path, data={"domains": {name: TABLES}})
    assert f"data.domains.{name}: the name {name!r} must begin with a letter" in found
    found = refused(tmp_path, models={"popularity": MODEL, name: MODEL})
    assert f"models.{name}: the name" in found
    found = refused(tmp_path, candidates=["popularity", name])
    assert "candidates.1: the name" in found


def test_a_name_may_hold_a_dash() -> None:
    params = small_params(data={"domains": {"my-shop_2": TABLES}})
    assert Params.model_validate(params).target_domains == ("my-shop_2",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"split": {"cold_start_fractions": [0.5, 0.5]}}, "same whole per cent"),
        ({"split": {"cold_start_fractions": [0.5, 0.501]}}, "same whole per cent"),
        ({"split": {"validation_fraction": 0.5, "test_fraction": 0.5}}, "no row to train on"),
        ({"prepare": {"event_weights": {"view": -1}}}, "prepare.event_weights.view: "),
        ({"prepare": {"event_weights": {"view": float("inf")}}}, "prepare.event_weights.view: "),
        ({"gate": {"protocol": "cold_start"}}, "gate.protocol: cold_start is about people without"),
        ({"split": {"protocols": ["leave_last"]}}, "temporal is not in split.protocols"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, **changes)


def test_an_address_with_a_password_is_refused_and_not_repeated(tmp_path: Path) -> None:
    found = refused(tmp_path, service={"state": "redis://:hunter2@store.example.org/0"})
    assert "service.state" in found
    assert "BRIDGEREC_STATE" in found
    assert "hunter2" not in found


def test_a_file_that_is_not_utf8_is_a_config_error(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes("# Bücher\nseed: 1\n".encode("latin-1"))
    with pytest.raises(ConfigError, match="save it as UTF-8"):
        load_params(path)
