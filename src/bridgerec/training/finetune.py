"""Adapt the text encoder itself to the domains, on what the same people met.

Two items that one person met shortly after each other, in one domain or across, should be near
(InfoNCE, van den Oord et al. 2018) among the other items of the batch, with logQ correction
(Yi et al., RecSys 2019).  An anchor keeps vectors near the original ones, so that items nobody met
stay comparable.  All weights are trained, or low-rank updates of every linear layer (LoRA, Hu et
al. 2022) that are merged into the weights afterwards.
"""

import hashlib
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bridgerec.config import FineTune
from bridgerec.encoders.cache import EmbeddingCache
from bridgerec.encoders.text import TextEncoder, load_model, pool
from bridgerec.errors import ConfigError, DataError
from bridgerec.progress import track
from bridgerec.runtime import atomic_folder, read_json, write_json
from bridgerec.training.optimize import OneCycle
from bridgerec.training.repeatable import repeatable

Ints = NDArray[np.int64]
CHECK_EVERY = 50  # steps
JUDGED = 512  # held-out pairs, at most
CHUNK = 32  # texts of similar length that are padded together


def require_peft(config: FineTune) -> None:
    """Refuse early where the extra is missing.

    Raises:
        ConfigError: LoRA is asked for and peft is not installed.
    """
    try:
        if config.method == "lora":
            version("peft")
    except PackageNotFoundError as error:
        raise ConfigError(
            "embed.finetune.method is lora, but peft is not installed. Run "
            "pip install 'bridgerec[finetune]', or write full."
        ) from error


def neighbours(user: Ints, item: Ints, text: Ints, window: int) -> Ints:
    """(n, 3): person, item, another item at most `window` places later in the person's history.

    `user` and `item` are rows sorted by person and time; `text` (n_items,) numbers the texts, -1
    where there is none.  Both items have a text, and not the same one.
    """
    found = []
    for gap in range(1, window + 1):
        first = np.flatnonzero(user[gap:] == user[:-gap])
        pair = np.stack([user[first], item[first], item[first + gap]], axis=1)
        one, other = text[pair[:, 1]], text[pair[:, 2]]
        found.append(pair[(one >= 0) & (other >= 0) & (one != other)])
    return np.concatenate(found).astype(np.int64)


class Pairs:
    """Ordered pairs of texts, both ways: `left`, `right` (n,), the `domain` of `right`, and which
    texts are `known` to go together (all of `known`'s rows, default: these)."""

    def __init__(self, rows: Ints, text: Ints, domain: Ints, known: Ints | None = None) -> None:
        both = np.concatenate([rows[:, 1:], rows[:, :0:-1]])
        self.left, self.right = text[both].T
        self.domain = domain[both[:, 1]]
        self.n_texts = int(text.max()) + 1
        self.log_q = np.log(np.maximum(np.bincount(self.right, minlength=self.n_texts), 1))
        met = text[(rows if known is None else known)[:, 1:]]
        self.known = np.unique(np.concatenate([met, met[:, ::-1]]) @ [self.n_texts, 1])

    def excluded(self, rows: Ints) -> NDArray[np.bool_]:
        """(n, n): right texts that are no negative of a left one: of another domain, the same
        text as the positive or the left one, or known to go with it."""
        left, right, domain = self.left[rows], self.right[rows], self.domain[rows]
        out = (domain[:, None] != domain) | (right[:, None] == right) | (left[:, None] == right)
        out |= np.isin(left[:, None] * self.n_texts + right, self.known)
        np.fill_diagonal(out, False)
        return out


class Tuned:
    """The model in training; called with token ids it gives unit vectors (n, size)."""

    def __init__(self, encoder: TextEncoder, config: FineTune) -> None:
        self.encoder, self.config = encoder, config
        self.tokenizer, model = load_model(encoder.folder)
        if config.method == "lora":
            from peft import LoraConfig, get_peft_model

            lora = LoraConfig(
                r=config.rank, lora_alpha=config.alpha, target_modules="all-linear",
                exclude_modules=r"(.*\.)?pooler\..*",
            )  # fmt: skip
            with warnings.catch_warnings():
                # GPT-2: weights are transposed (peft sees to it), there is no pooler to leave out
                warnings.simplefilter("ignore")
                model = get_peft_model(model, lora)
        # without dropout: the anchor and the early stop are what keeps it from overfitting
        self.model: Any = model.eval().to(encoder.device)
        self.fill = self.tokenizer.pad_token_id or 0

    def __call__(self, tokens: Sequence[list[int]]) -> Any:
        import torch

        order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
        pieces = [
            self._padded([tokens[i] for i in order[start : start + CHUNK]])
            for start in range(0, len(order), CHUNK)
        ]
        return torch.cat(pieces)[np.argsort(order)]

    def _padded(self, batch: list[list[int]]) -> Any:
        """Padding on the right, which neither kind of encoder looks at."""
        import torch

        e, size = self.encoder, max(map(len, batch))
        ids = torch.tensor([t + [self.fill] * (size - len(t)) for t in batch], device=e.device)
        length = torch.tensor([len(t) for t in batch], device=e.device)
        mask = (torch.arange(size, device=e.device) < length[:, None]).long()
        bf16 = e.precision == "bfloat16"
        with torch.autocast(e.device, torch.bfloat16, enabled=bf16):
            hidden = self.model(input_ids=ids, attention_mask=mask)[0].float()
        if e.config.pooling == "mean":
            pooled = (hidden * mask[:, :, None]).sum(1) / length[:, None]
        elif e.config.pooling == "last":
            pooled = hidden[torch.arange(len(batch), device=e.device), length - 1]
        else:
            pooled = pool(hidden, e.config.pooling)
        return torch.nn.functional.normalize(pooled, dim=1)

    def trained(self) -> dict[str, Any]:
        """Copies of the weights that training moves."""
        parts = self.model.named_parameters()
        return {name: p.detach().clone() for name, p in parts if p.requires_grad}

    def save(self, folder: Path, best: dict[str, Any]) -> None:
        """Weights, settings and tokenizer, as `TextEncoder` loads them from a folder."""
        self.model.load_state_dict(best, strict=False)
        model = self.model.merge_and_unload() if self.config.method == "lora" else self.model
        model.config._name_or_path = ""  # where it was loaded from is nobody's business
        model.save_pretrained(folder)
        self.tokenizer.name_or_path = ""
        self.tokenizer.init_kwargs.pop("name_or_path", None)
        self.tokenizer.save_pretrained(folder)


def finetune(
    encoder: TextEncoder,
    texts: Sequence[str],
    rows: tuple[Ints, Ints],
    domain: Ints,
    config: FineTune,
    folder: Path,
    cache: EmbeddingCache | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Write `folder`/KEY/report.json and, where training helped, `folder`/KEY/model.

    `texts` and `domain` (n_items,) describe the items; `rows` are person and item of training
    rows, sorted by person and time.  KEY stands for everything that decides the result, so that a
    repeat finds it.  The report: `model` (None: the original is best), `best_step`, and `mrr` of
    held-out people's pairs by step.

    Raises:
        ConfigError: peft is missing.
        DataError: there are no two people with two training items of different texts.
    """
    require_peft(config)
    libraries = ("peft",) if config.method == "lora" else ()
    parts = [encoder.fingerprint, config.model_dump_json(), *map(version, libraries), *texts]
    digest = hashlib.sha256("\0".join(parts).encode())
    for array in (*rows, domain):
        digest.update(np.ascontiguousarray(array, dtype=np.int64).data)
    place = folder / digest.hexdigest()[:32]
    if not (place / "report.json").is_file():
        number = {t: i for i, t in enumerate(sorted({t for t in texts if t}))}
        text = np.array([number.get(t, -1) for t in texts], dtype=np.int64)
        found = neighbours(*rows, text, config.window)
        people = np.random.default_rng(config.seed).permutation(np.unique(found[:, 0]))
        if len(people) < 2:
            raise DataError(
                "embed.finetune: fewer than two people have two items with different texts among "
                "the rows that are training rows in every split. Leave finetune out."
            )
        share = min(max(round(config.held_out * len(people)), 1), len(people) - 1)
        apart = np.isin(found[:, 0], people[:share])
        train = Pairs(found[~apart], text, domain)
        held_out = Pairs(found[apart], text, domain, found)
        say(f"fine-tuning ({config.method}) on {len(train.left):,} pairs of items")
        names = list(number)
        learned = [names[i] for i in np.unique(train.left)]
        original = encoder.encode(learned, cache, progress=True)
        with atomic_folder(place) as draft:
            report = _train(encoder, names, original, train, held_out, config, draft)
            write_json(draft / "report.json", report)
    report = read_json(place / "report.json")
    best = report["best_step"]
    say(f"best after {best} of {config.steps} steps" if best else "the original encoder stays best")
    return {**report, "model": str(place / "model") if report["best_step"] else None}


def _train(
    encoder: TextEncoder,
    texts: list[str],
    original: NDArray[np.float32],
    train: Pairs,
    held_out: Pairs,
    config: FineTune,
    draft: Path,
) -> dict[str, Any]:
    import torch

    device, rng = encoder.device, np.random.default_rng([config.seed, 1])
    chosen = rng.permutation(len(held_out.left))[:JUDGED]
    learned = np.unique(train.left)  # the texts of `original`
    with torch.random.fork_rng(), repeatable() if device == "cpu" else nullcontext():
        torch.manual_seed(config.seed)
        tuned = Tuned(encoder, config)
        prefixed = [encoder.config.prefix + t for t in texts]
        length = encoder.config.max_length
        tokens = tuned.tokenizer(prefixed, truncation=True, max_length=length)["input_ids"]
        optimizer = OneCycle(tuned.model, config.rate, config.steps, ())
        mrr = {0: _mrr(tuned, tokens, held_out, chosen)}
        best_step, best = 0, tuned.trained()
        for step in track(range(1, config.steps + 1), "fine-tuning"):
            rows = rng.integers(0, len(train.left), config.batch_size)
            distinct, place = np.unique([train.left[rows], train.right[rows]], return_inverse=True)
            unit = tuned([tokens[i] for i in distinct])
            left, right = unit[place.reshape(2, -1)]
            log_q = torch.tensor(train.log_q[train.right[rows]], device=device).float()
            logits = left @ right.T / config.temperature - log_q
            out = torch.tensor(train.excluded(rows), device=device)
            labels = torch.arange(len(rows), device=device)
            loss = torch.nn.functional.cross_entropy(logits.masked_fill(out, -torch.inf), labels)
            before = torch.tensor(original[np.searchsorted(learned, distinct)], device=device)
            optimizer.step(loss + config.anchor * (1 - (unit * before).sum(1)).mean())
            if step % CHECK_EVERY == 0 or step == config.steps:
                mrr[step] = _mrr(tuned, tokens, held_out, chosen)
                if mrr[step] > mrr[best_step]:
                    best_step, best = step, tuned.trained()
        if best_step:
            tuned.save(draft / "model", best)
    return {
        "method": config.method,
        "best_step": best_step,
        "mrr": {str(step): round(value, 6) for step, value in mrr.items()},
        "pairs": len(train.left),
        "held_out_pairs": len(chosen),
    }


def _mrr(tuned: Tuned, tokens: list[list[int]], pairs: Pairs, rows: Ints) -> float:
    """Mean reciprocal rank of each right text among those of its domain; a tie counts as lost."""
    import torch

    distinct, place = np.unique([pairs.left[rows], pairs.right[rows]], return_inverse=True)
    with torch.no_grad():
        unit = tuned([tokens[i] for i in distinct]).cpu().numpy()
    left, right = unit[place.reshape(2, -1)]
    # each text once: the first row that holds it, or the row's own positive
    once = np.unique(np.stack([pairs.right[rows], pairs.domain[rows]]), axis=1, return_index=True)
    scores = left @ right.T
    positive = scores.diagonal().copy()
    scores[pairs.excluded(rows)] = -np.inf
    rivals = scores[:, once[1]] >= positive[:, None]
    rivals[np.arange(len(rows))[:, None] == once[1]] = False
    return float((1 / (1 + rivals.sum(1))).mean())
