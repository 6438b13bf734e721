"""No tool that BridgeRec uses reports to anybody, whatever door is taken."""

import os
import subprocess
import sys

import pytest

from bridgerec.runtime import QUIET
from helpers import REPOSITORY

TOLD = "; ".join(  # what each tool itself makes of its settings
    (
        "import os",
        "from prefect.settings import get_current_settings as prefect",
        "from great_expectations.data_context.data_context.context_factory import get_context",
        "from bentoml._internal.utils.analytics.usage_stats import do_not_track as bentoml",
        "from huggingface_hub import constants as hub",
        "from dvc.analytics import is_enabled as dvc",
        "gx = get_context(mode='ephemeral')",
        "found = {'prefect': prefect().server.analytics_enabled, 'gx': gx.config.analytics_enabled,"
        " 'bentoml': not bentoml(), 'hub': not hub.HF_HUB_DISABLE_TELEMETRY, 'dvc': dvc()}",
        "print(sorted(name for name, on in found.items() if on))",
    )
)


def elsewhere() -> dict[str, str]:
    """The environment of somebody who has set nothing."""
    found = {k: v for k, v in os.environ.items() if k not in QUIET and k != "DVC_TEST"}
    return {**found, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'src'}"}


def python(code: str, environment: dict[str, str]) -> str:
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
def test_every_tool_is_quiet_in_a_process_of_the_command_line() -> None:
    assert "prefect" in python(TOLD, elsewhere())  # else this test could not fail
    code = (
        "import bridgerec.cli as cli, bridgerec.cli.app as module\n"
        f"def app(): exec({TOLD!r}, {{}})\n"
        "module.app = app\n"
        "cli.main()"
    )
    assert python(code, elsewhere()) == "[]"


@pytest.mark.slow
def test_the_settings_that_prefect_loaded_for_a_flow() -> None:
    code = (
        "import flows.training; from prefect.settings import get_current_settings as loaded; "
        "import os; print(loaded().server.analytics_enabled, os.environ['DO_NOT_TRACK'])"
    )
    assert python(code, elsewhere()) == "False 1"


def test_every_flow_prepares_the_environment_before_prefect_is_imported() -> None:
    flows = [p for p in (REPOSITORY / "flows").glob("*.py") if p.name != "shown.py"]
    assert len(flows) >= 5
    for path in flows:
        text = path.read_text(encoding="utf-8")
        assert text.index("\nprepare_environment()") < text.index("\nfrom prefect"), path.name
