"""Demo data of three domains with a known truth: same seed, same bytes."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.data.simulation.catalogue import SimulatedItems, add_prices, simulate_items
from bridgerec.data.simulation.people import (
    People,
    probabilities,
    simulate_events,
    simulate_people,
)
from bridgerec.data.simulation.pictures import PICTURED, add_pictures
from bridgerec.errors import ConfigError
from bridgerec.runtime import atomic_folder, file_hash, read_json, write_json

DOMAINS = {"books": "csv", "films": "jsonl", "kitchenware": "csv"}
TRUTH = {"truth.json", "truth.safetensors"}


def simulate(
    root: Path,
    seed: int = 42,
    users: int = 3000,
    items: int = 2000,
    progress: Callable[[str], None] | None = None,
    force: bool = False,
) -> None:
    """Write `root/data/DOMAIN/{items,interactions}`, small pictures of the items of two domains,
    and the truth into `root/truth`.

    `items` are per domain.  Cold-start people (in one domain alone), items that nobody met
    and items released late in the year occur on purpose.

    Raises:
        ConfigError: data/ or truth/ holds files that are not an earlier simulation's output,
            and `force` is not set.
    """
    if not force:
        check_replaceable(root)
    sequence = np.random.SeedSequence(seed)
    streams = sequence.spawn(1 + 2 * len(DOMAINS))
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in streams]
    # people, texts and events do not depend on what else an item has
    looks = [np.random.Generator(np.random.PCG64(s)) for s in sequence.spawn(len(DOMAINS))]
    people = simulate_people(users, len(DOMAINS), rngs[0])
    catalogues = {}
    with atomic_folder(root / "data") as folder:
        for number, (domain, ending) in enumerate(DOMAINS.items()):
            catalogue = simulate_items(domain, items, rngs[1 + 2 * number])
            add_prices(domain, catalogue, looks[number])
            if domain in PICTURED:
                add_pictures(domain, catalogue, folder / domain, looks[number])
            events = simulate_events(domain, number, people, catalogue, rngs[2 + 2 * number])
            (folder / domain).mkdir(exist_ok=True)
            _write(folder / domain / f"items.{ending}", catalogue.rows)
            _write(folder / domain / f"interactions.{ending}", events)
            catalogues[domain] = catalogue
            if progress:
                progress(f"{domain}: {items:,} items, {len(events):,} events")
    _write_truth(root, people, catalogues, seed)


def check_replaceable(root: Path) -> None:
    """Raise ConfigError unless data/ and truth/ are absent, empty, or unchanged output of
    `simulate` (whose tables and folders of pictures have their hashes in truth/truth.json)."""
    data, truth = root / "data", root / "truth"
    known = {}
    if (truth / "truth.json").is_file():
        known = read_json(truth / "truth.json").get("tables", {})
    own = {data / name for name, digest in known.items() if _is(data / name, digest)}
    found = sorted(path for path in data.rglob("*") if not path.is_dir())
    foreign = [p for p in found if p not in own and p.parent not in own]
    foreign += sorted(p for p in truth.glob("*") if p.name not in TRUTH)
    if foreign:
        some = ", ".join(str(path.relative_to(root)) for path in foreign[:3])
        raise ConfigError(
            f"the demo data would replace {len(foreign)} file(s) in {root} that `bridgerec "
            f"simulate` did not write: {some}{', …' if foreign[3:] else ''}. Choose another "
            "folder with -C, or say --force to delete data/ and truth/."
        )


def _is(path: Path, digest: str) -> bool:
    return path.exists() and file_hash(path) == digest


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    else:
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text = buffer.getvalue()
    path.write_bytes(text.encode())


def _write_truth(
    root: Path, people: People, catalogues: dict[str, SimulatedItems], seed: int
) -> None:
    from safetensors.numpy import save_file

    data = root / "data"
    tables = {p.relative_to(data).as_posix(): file_hash(p) for p in data.glob("*/*")}
    with atomic_folder(root / "truth") as temporary:
        arrays = {"tastes": people.tastes, "active": people.active.astype(np.uint8)}
        for domain, items in catalogues.items():
            arrays[f"{domain}.themes"] = items.themes
            arrays[f"{domain}.appeal"] = items.appeal
            arrays[f"{domain}.released"] = items.released
            arrays[f"{domain}.cold"] = items.cold.astype(np.uint8)
        save_file(arrays, temporary / "truth.safetensors")
        ids = {d: [row["item_id"] for row in c.rows] for d, c in catalogues.items()}
        write_json(
            temporary / "truth.json",
            {"seed": seed, "users": people.ids, "items": ids, "tables": tables},
        )


def true_items(root: Path, domain: str) -> SimulatedItems:
    """What the simulator knows of a domain's items, in the order of their ids (no texts)."""
    from safetensors.numpy import load_file

    arrays = load_file(root / "truth" / "truth.safetensors")
    return SimulatedItems(
        [],
        arrays[f"{domain}.themes"],
        arrays[f"{domain}.appeal"],
        arrays[f"{domain}.released"],
        arrays[f"{domain}.cold"].astype(bool),
    )


def true_preferences(root: Path, domain: str) -> tuple[list[str], list[str], NDArray[np.float64]]:
    """User ids, item ids and the true preference probabilities (users, items) of a domain."""
    from safetensors.numpy import load_file

    meta = read_json(root / "truth" / "truth.json")
    tastes = load_file(root / "truth" / "truth.safetensors")["tastes"]
    return meta["users"], meta["items"][domain], probabilities(tastes, true_items(root, domain))
