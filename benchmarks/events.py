"""How many durable events a second a store takes: `python benchmarks/events.py PLACE`, a folder
that does not exist yet or a redis:// address.

Each sender waits for its event to be kept before it sends the next one.
"""

import asyncio
import sys
import time

from bridgerec.serving.state import Event, Store, open_store

EVENTS = 4000


async def send(store: Store, name: str, events: int) -> list[float]:
    """Seconds that each of a sender's events took."""
    waits = []
    for n in range(events):
        start = time.perf_counter()
        await store.add([Event(f"{name}-{n}", name, "films", f"f{n}", n)])
        waits.append(time.perf_counter() - start)
    return waits


async def main(place: str) -> None:
    store = open_store(place)
    print(f"{'senders':>8} {'events/s':>9} {'median ms':>10} {'p99 ms':>8}")
    for senders in (1, 16, 64, 256):
        each = 200 if senders == 1 else EVENTS // senders
        start = time.perf_counter()
        parts = await asyncio.gather(*(send(store, f"{senders}-{n}", each) for n in range(senders)))
        seconds = time.perf_counter() - start
        waits = sorted(wait for part in parts for wait in part)
        median, p99 = waits[len(waits) // 2], waits[int(len(waits) * 0.99)]
        rate = len(waits) / seconds
        print(f"{senders:>8} {rate:>9,.0f} {median * 1000:>10.2f} {p99 * 1000:>8.2f}")
    store.close()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1]))
