"""Do the off-policy intervals hold the truth?  On the simulator, whose preferences are known.

    python benchmarks/offpolicy.py [--runs 300]

A logging policy answers people whose tastes are simulated; another policy's true clicks per
impression are computed exactly and estimated from the log.  Prints Markdown: how often the 95 %
interval holds the truth, bias, error and width of each estimate, for near and far policies.
"""

import argparse

import numpy as np

from bridgerec.data.simulation.catalogue import simulate_items
from bridgerec.data.simulation.clicks import ClickWorld
from bridgerec.data.simulation.people import simulate_people
from bridgerec.monitoring.offpolicy import ItemRewards, off_policy

NAMES = ("ips", "snips", "doubly_robust")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=300)
    runs = parser.parse_args().runs
    rng = np.random.default_rng(0)
    people = simulate_people(500, 3, rng)
    world = ClickWorld.of(people.tastes, simulate_items("films", 200, rng), 5, 8, rng)
    logging = world.policy(0.3)
    print("| other policy | requests | truth (log) | effective | estimate | interval holds "
          "| bias | root mean square error | mean width |")  # fmt: skip
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, sharpness in (("near", 0.8), ("far", 2.0), ("opposite", -1.5)):
        target = world.policy(sharpness)
        truth, own = world.value(target), world.value(logging)
        for requests in (500, 3000):
            found = [estimate(world, logging, target, requests, seed) for seed in range(runs)]
            share = np.mean([f.effective / f.impressions for f in found])
            for kind in NAMES:
                each = [getattr(f, kind) for f in found]
                error = np.array([e.value for e in each]) - truth
                print(
                    f"| {name} | {requests:,} | {truth:.4f} ({own:.4f}) | {share:.0%} | {kind} "
                    f"| {np.mean([e.low <= truth <= e.high for e in each]):.1%} "
                    f"| {error.mean():+.4f} | {np.sqrt((error**2).mean()):.4f} "
                    f"| {np.mean([e.high - e.low for e in each]):.4f} |",
                    flush=True,
                )


def estimate(world: ClickWorld, logging: np.ndarray, target: np.ndarray, n: int, seed: int):
    log = world.draw(logging, n, np.random.default_rng(seed))
    reward, position = log.clicked.astype(float), log.slot + 1
    model = ItemRewards(log.item, position, reward, log.request)
    there = target[log.person, log.slot]
    expected = (there * model.of(world.items[log.slot], position)).sum(1)
    predicted = (model.of(log.item, position), expected)
    logged = there[np.arange(len(there)), log.choice]
    return off_policy(
        reward, log.propensity, logged, log.request, predicted, resamples=400, seed=seed
    )


if __name__ == "__main__":
    main()
