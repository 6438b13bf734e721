"""What is shipped: templates, a light import, constraints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
TEMPLATES = ROOT / "src" / "bridgerec" / "templates"


@pytest.mark.parametrize(
    "name",
    ["dvc.yaml", "bentofile.yaml", "expectations/interactions.json", "expectations/items.json"],
)
def test_templates_are_the_files_of_the_demo(name: str) -> None:
    assert (TEMPLATES / name).read_bytes() == (ROOT / name).read_bytes()


def test_the_template_of_params_differs_from_the_demo_in_tuning_and_pictures_alone() -> None:
    demo, template = (
        yaml.safe_load((folder / "params.yaml").read_text()) for folder in (ROOT, TEMPLATES)
    )
    assert demo["models"].keys() == template["models"].keys()
    assert demo["embed"].pop("image") == {"model": "colour"}  # its catalogue names pictures
    # simulated people's tastes stay as they are, so that iALS adds something to the demo's blend
    demo["blend"]["members"].remove("ials")
    for key in demo.keys() - {"data", "targets", "models"}:
        assert demo[key] == template[key], key


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, bridgerec, bridgerec.cli; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "transformers", "polars", "numpy", "prefect", "dvc", "pydantic", "scipy"}
    assert not heavy & set(found.stdout.split())


def test_constraints_pin_exactly_and_name_no_registry() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert pins
    assert all(re.fullmatch(r"[\w.\-\[\]]+==[\w.+!]+( ;.*)?", line) for line in pins)
