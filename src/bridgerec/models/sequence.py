"""Sequence: a causal transformer over the merged, time-ordered history of all domains.

SASRec (Kang & McAuley, ICDM 2018) carried over to several domains.  An item enters as its
language-model vector through a linear adaptor plus a residual of its own, dropped at random while
training so that the text stays usable for items nobody has met.  At every place the model is
asked for the next item of *each* domain, through that domain's own head, so that interest is
carried over from whatever came last; with `history_dropout` it is asked for a domain of which it
may see nothing (the cold-start road).  Softmax over all items of the domain, or over logQ-corrected
shared negatives (`training.losses.draw`).  Off at weight 0: agreement of augmented views (CL4SRec,
Xie et al., ICDE 2022), adversarial training, and the kinds of events (`training.event_kinds`).
"""

from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from bridgerec.config import Choice, Range, Space
from bridgerec.data.dataset import Histories, Training
from bridgerec.models.base import Arrays, Candidate, under
from bridgerec.models.next_item import NextItem
from bridgerec.models.sequence_net import Net, SequenceConfig, Told
from bridgerec.models.trends import Trends
from bridgerec.training.device import learning
from bridgerec.training.sequences import padded


class Sequence(Candidate):
    """score = cosine(head of the target (state), item) / temperature + prior."""

    config_class = SequenceConfig
    random = True
    uses_vectors = True
    slow = True
    space: ClassVar[Space] = {
        "embedding_size": Choice(choice=(32, 64, 128, 256)),
        "learning_rate": Range(low=0.0005, high=0.01, log=True),
        "temperature": Range(low=0.03, high=0.2, log=True),
        "dropout": Range(low=0, high=0.6),
        "residual_dropout": Range(low=0, high=0.7),
        "history_dropout": Range(low=0, high=0.5),
        "weight_decay": Range(low=0.001, high=1, log=True),
    }
    effort = "epochs"

    def fit(self, training: Training) -> None:
        assert training.vectors is not None
        count = self._know(training)
        with learning(training.device, self.seed):
            vectors = torch.as_tensor(training.vectors)
            net = Net(
                self.config, self.n_items, len(self.domains), vectors.shape[1],
                training.images, self.seed, self._kinds,
            )  # fmt: skip
            # where transformers has loaded a model, torch.linspace overlooks the default device
            self.net = net.to(training.device)
            NextItem(
                self.config, self.net, vectors, count, self.trends,
                [self.block(d) for d in self.domains], np.random.default_rng(self.seed),
            ).learn(training.histories.last(self.config.max_history))  # fmt: skip
            self.net.eval()
            with torch.no_grad():
                content = self.net.content(vectors, torch.arange(self.n_items))
                self.items = F.normalize(content + self.net.residual, dim=1).cpu()
        self.net.cpu()

    @property
    def _kinds(self) -> int:
        """How many kinds of events it tells apart."""
        c = self.config
        return len(self.event_kinds) if c.event_input or c.asks_kinds else 0

    @property
    def tells_kinds(self) -> bool:
        return bool(self._kinds and self.config.asks_kinds)

    def refresh(self, known: Training) -> None:
        self._know(known)

    def _know(self, known: Training) -> NDArray[np.int64]:
        """Set what is counted and not learned; returns how often each item was met."""
        count = np.bincount(known.histories.items, minlength=self.n_items)
        self.log_popularity = torch.from_numpy(np.log1p(count).astype(np.float32))
        self.trends = Trends.fit(known, self.config.half_lives)
        return count

    def score(self, histories: Histories, target: str) -> NDArray[np.float32]:
        recent = histories.last(self.config.max_history)
        table = np.maximum(padded(recent)[0], 0)
        d, block = self.domains.index(target), self.block(target)
        with torch.inference_mode():
            reads = bool(self._kinds and self.config.event_input)
            told = Told.of(recent, table, self.domain_of(table), self.trends, reads)
            last = self.net.after(recent, self.items[table], told)
            users = F.normalize(last @ self.net.head[d], dim=1)
            scores = users @ self.items[block].T / self.config.temperature
            warm = torch.from_numpy(recent.within(block).lengths > 0)
            timed, prior = int(histories.asked is not None), self.net.prior
            weights = prior.trend[timed, d].numpy()
            lift = torch.from_numpy(self.trends.lift(weights, histories.moment, block))
            scores += prior(d, timed, last, warm, self.log_popularity[None, block], lift)
            events, wanted = self.net.events, histories.wanted
            if events is not None and self.tells_kinds and wanted is not None:
                scores += events.wanted(d, users, self.items[block], torch.from_numpy(wanted))
        return np.asarray(scores.numpy(), dtype=np.float32)

    def arrays(self) -> Arrays:
        state = self.net.state_dict()
        items = ("adaptor.", "residual", "fusion.")  # they are finished
        learned = {k: v for k, v in state.items() if not k.startswith(items)}
        both = {**learned, "items": self.items, "log_popularity": self.log_popularity}
        trends = {f"trends/{name}": array for name, array in self.trends.arrays().items()}
        return {**{name: tensor.numpy() for name, tensor in both.items()}, **trends}

    def restore(self, arrays: Arrays) -> None:
        self.trends = Trends.of(under(arrays, "trends/"))
        tensors = {n: torch.from_numpy(a) for n, a in arrays.items() if not n.startswith("trends/")}
        self.items, self.log_popularity = tensors.pop("items"), tensors.pop("log_popularity")
        inner, size = tensors["sequence.blocks.0.up.weight"].shape
        # models that were stored before there was a choice do not tell their width
        config = self.config.model_copy(update={"widening": inner // size})
        # the items are finished
        self.net = Net(config, 0, len(self.domains), 1, kinds=self._kinds)
        self.net.load_state_dict(tensors, strict=False)
        self.net.eval()
