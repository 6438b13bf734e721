"""One thing that is wrong with the data, in plain words."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["critical", "warning"]


@dataclass(frozen=True)
class Finding:
    """`count` of `total` rows are concerned; `examples` shows a few of them."""

    domain: str
    table: str
    check: str
    severity: Severity
    message: str
    remedy: str
    count: int = 0
    total: int = 0
    examples: list[dict[str, Any]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def line(self) -> str:
        share = f" ({self.count:,} of {self.total:,})" if self.total else ""
        return f"{self.domain}/{self.table}: {self.message}{share}. {self.remedy}"
