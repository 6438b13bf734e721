"""Whether explanations name what really lifted a recommendation, for every candidate.

    python benchmarks/faithfulness.py WORKSPACE [--people 200] [--top 5] [--only NAME …]

WORKSPACE has trained candidates, and is only read.  For people of validation and the items that are
recommended to them, the history item that the explanation names first is taken away, and a random
other one (`bridgerec.serving.faithfulness`).  Prints Markdown: by how many deviations of the
scores the recommended item falls without either, the difference paired over people with its 95 %
bootstrap interval, the same where the model sees nothing but the one item, and the share of
recommendations in which the named item mattered more.
"""

import argparse
from pathlib import Path

from bridgerec.config import Workspace
from bridgerec.data.dataset import Catalogue, Split
from bridgerec.evaluation.significance import Difference
from bridgerec.models.base import Candidate, check_catalogue, load
from bridgerec.runtime import read_json
from bridgerec.serving.faithfulness import faithfulness
from stages import table


def trained(workspace: Workspace, name: str, split: str, catalogue: Catalogue) -> Candidate | None:
    """The candidate (its first seed) of a split; None where it is not trained."""
    folder = workspace.candidate(name) / split
    for path in (folder / "seed-0", folder):
        if (path / "model.json").is_file():
            model = load(path)
            check_catalogue(model, catalogue)
            return model
    return None


def interval(found: Difference) -> str:
    return f"{found.mean:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=[])
    options = parser.parse_args()
    workspace = Workspace.open(options.workspace)
    catalogue = Catalogue.read(workspace.prepared / "items.parquet")
    for name in read_json(workspace.prepared / "splits.json"):
        split = Split.read(workspace.prepared, name, catalogue)
        for target in split.targets:
            cases, rows = split.cases("validation", target), []
            if len(cases) == 0:
                continue
            for candidate in options.only or workspace.params.competitors:
                model = trained(workspace, candidate, name, catalogue)
                if model is None:
                    continue
                seed = workspace.params.seed
                found = faithfulness(model, cases, options.people, options.top, seed)
                rows.append(
                    [candidate, *["–"] * 7]
                    if found is None
                    else [
                        candidate, str(found.people), str(found.pairs), f"{found.fall:.3f}",
                        f"{found.other:.3f}", interval(found.removed), interval(found.alone),
                        f"{100 * found.share:.0f} %",
                    ]
                )  # fmt: skip
            print(f"\n### {name}, {target}\n")
            heads = ["candidate", "people", "recommendations", "fall without the named item"]
            heads += ["without another", "difference", "each alone", "named mattered more"]
            print(table(heads, rows))


if __name__ == "__main__":
    main()
