"""Words to item vectors, with the encoder and the whitening that the release was made with.

The encoder is loaded when it is first needed, in a thread; a service that never searches does not
pay for it, and one that cannot load it answers everything else.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bridgerec.config import Encoder
from bridgerec.encoders.whitening import Whitening
from bridgerec.errors import ArtifactError, BridgeRecError
from bridgerec.runtime import read_json
from bridgerec.serving.problems import Unavailable
from bridgerec.serving.state import NewItem

if TYPE_CHECKING:
    from bridgerec.encoders.text import TextEncoder

Floats = NDArray[np.float32]
AGAIN = 60  # seconds until loading is tried again after it failed
AT_ONCE = 8  # items of another release's space that one request embeds again
log = logging.getLogger(__name__)


class Embedder:
    """`folder` is the bundle with `encoder.json` and `whitening.safetensors`; `patience` the
    seconds that a request waits for the encoder."""

    def __init__(self, folder: Path, patience: float = 3) -> None:
        self.folder, self.patience = folder, patience
        path = folder / "encoder.json"
        self.record: dict[str, Any] = read_json(path) if path.is_file() else {}
        path = folder / "whitening.safetensors"
        # now, with the record: another release may be packaged into the same folder
        self._whitening = Whitening.load(path) if path.is_file() else None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="encoder")
        self._loading: Future[tuple[TextEncoder, Whitening]] | None = None
        self._failed = 0.0
        self._scripts: Counter[str] | None = None  # of the vocabulary

    @property
    def space(self) -> str:
        """The name of the vectors' space: other weights or whitening, another name."""
        return str(self.record.get("space", ""))

    def start(self) -> "Future[tuple[TextEncoder, Whitening]]":
        """Begin to load, unless that is done, under way, or failed a moment ago."""
        failed = self._loading is not None and self._loading.done() and self._loading.exception()
        if self._loading is None or (failed and time.monotonic() - self._failed > AGAIN):
            self._loading = self._pool.submit(self._load)
        return self._loading

    def _load(self) -> "tuple[TextEncoder, Whitening]":
        from bridgerec.encoders.text import TextEncoder

        try:
            if not self.record or self._whitening is None:
                raise ArtifactError("this release was packaged without an encoder's record")
            encoder = TextEncoder(Encoder.model_validate(self.record["encoder"]), self.folder)
            known = self.record.get("weights")
            if known and encoder.weights != known:
                raise ArtifactError(
                    f"the encoder's weights in {encoder.folder} are not those of this release"
                )
            encoder.encode(["warm"])
            return encoder, self._whitening
        except Exception:
            self._failed = time.monotonic()
            raise

    @property
    def started(self) -> bool:
        """Whether somebody has asked for the encoder."""
        return self._loading is not None

    @property
    def ready(self) -> bool:
        """Whether words can be embedded without waiting for the encoder."""
        loading = self._loading
        return loading is not None and loading.done() and loading.exception() is None

    async def _ready(self, patience: float | None = None) -> "tuple[TextEncoder, Whitening]":
        waiting = asyncio.wrap_future(self.start())
        # a failure after the wait is told to the next request
        waiting.add_done_callback(lambda f: None if f.cancelled() else f.exception())
        done, _ = await asyncio.wait(
            [waiting], timeout=self.patience if patience is None else patience
        )
        if not done:
            raise Unavailable(
                "the text encoder is still being loaded", "Send it again in a few seconds.", 5
            )
        try:
            return waiting.result()
        except (BridgeRecError, ImportError, OSError, RuntimeError, ValueError) as error:
            name = self.record.get("encoder", {}).get("model", "")
            raise Unavailable(
                f"the text encoder cannot be loaded: {error}",
                f"Install what {name or 'the encoder'} needs where the service runs (torch, "
                "transformers and the weights), and start it again. Everything but search, "
                "wishes and new items works without.",
            ) from error

    async def vectors(self, texts: Sequence[str], domain: NDArray[np.int64]) -> Floats:
        """Unit vectors (len(texts), size) in the space of the release's items; `domain` (n,) are
        the numbers of the domains whose means are taken off.

        Raises:
            Unavailable: the encoder cannot be loaded (yet).
        """
        encoder, whitening = await self._ready()

        def compute() -> Floats:
            return whitening.apply(encoder.encode(texts), domain)

        return await asyncio.get_running_loop().run_in_executor(self._pool, compute)

    async def unread(self, text: str) -> str | None:
        """Why the encoder cannot read a text; None: it can.

        Raises:
            Unavailable: the encoder cannot be loaded (yet).
        """
        encoder, _ = await self._ready()
        if text.isascii():
            return None

        def look() -> str | None:
            from bridgerec.encoders.scripts import unread, vocabulary

            if self._scripts is None:
                self._scripts = vocabulary(encoder.loaded()[0])
            return unread(text, self._scripts)

        strange = await asyncio.get_running_loop().run_in_executor(self._pool, look)
        if strange is None:
            return None
        return f"this release's text encoder has not learnt to read {strange}"

    def text_of(self, item: NewItem) -> str:
        """The text of an item, put together as that of the catalogue's items."""
        from bridgerec.encoders.text import item_texts

        fields = self.record["fields"]
        row = pl.DataFrame(
            {f: [getattr(item, f)] for f in fields}, schema=dict.fromkeys(fields, pl.String)
        )
        return item_texts(row, fields, self.record["max_characters"])[0]

    async def embedded(self, item: NewItem, patience: float | None = None) -> NewItem:
        """The item with its vector, as float16 bytes; `patience`: another one than everybody's.

        Raises:
            Unavailable: the encoder cannot be loaded (yet).
        """
        await self._ready(patience)  # first: without a record there is no text either
        number = np.array([self.record["domains"].index(item.domain)])
        vector = (await self.vectors([self.text_of(item)], number))[0]
        return replace(item, space=self.space, vector=vector.astype(np.float16).tobytes())

    async def vectors_of(self, items: Sequence[NewItem]) -> list[Floats | None]:
        """Vectors of stored items, in order; None where there can be none.

        Those of another release's space are embedded again, a few at a time: the list is shorter
        than `items` where the rest has to wait for that, or for the encoder.
        """
        found: list[Floats | None] = []
        foreign = 0
        for item in items:
            known: NewItem | None = item
            if item.space != self.space:
                foreign += 1
                if foreign > AT_ONCE:
                    break
                try:
                    known = await self.embedded(item, patience=0)
                except Unavailable as error:
                    if error.retry_after is not None:  # it is on its way
                        break
                    known = None
                    log.warning(
                        "the added item %s/%s is left out: %s", item.domain, item.item_id, error
                    )
            vector = None if known is None else np.frombuffer(known.vector, dtype=np.float16)
            found.append(None if vector is None else vector.astype(np.float32))
        return found

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
