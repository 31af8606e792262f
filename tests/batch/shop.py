"""An embedded engine with its bill, and batches that it answers."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import PIL.Image

from stepfun_async import Batch, Limits, RetryPolicy
from stepfun_async.batch import Records
from stepfun_async.embedded import EmbeddedTransport, Engine, Scenario

ONCE = RetryPolicy(max_attempts=1)


class Shop:
    """An engine with its bill, and batches that it answers."""

    def __init__(self, out: Path) -> None:
        self.engine = Engine(plain=True)
        self.transport: Any = EmbeddedTransport(self.engine)
        self.out = out

    def fail(self, *faults: str) -> None:
        """Each of them once, unless it says otherwise."""
        self.engine.scenario = Scenario(*(fault if "*" in fault else f"{fault}*1" for fault in faults))

    def batch(self, inputs: Any, **settings: Any) -> Batch:
        defaults: dict[str, Any] = {
            "base_url": "embedded",
            "transport": self.transport,
            "out": self.out,
            "limits": Limits(max_concurrency=4),
            "retry": ONCE,
        }
        return Batch(inputs, **{**defaults, **settings})

    price = Decimal("0.003")
    """Of a picture, in USD."""

    @property
    def pictures(self) -> int:
        """How many were paid for."""
        return self.engine.bill().images

    def states(self) -> Counter[str]:
        return Counter(item.state for item in Records(self.out).items())

    def files(self) -> list[Path]:
        return sorted(self.out.rglob("*.png"))

    def assert_whole(self, pictures: int) -> None:
        """Each picture is there once, decodable, with the bytes that the journal says."""
        items = [item for item in Records(self.out).items() if item.state == "done"]
        assert len(items) == len({item.path for item in items}) == pictures
        assert self.files() == sorted(self.out / str(item.path) for item in items)
        for path in self.files():
            with PIL.Image.open(path) as picture:
                picture.load()


def prompts(count: int) -> list[dict[str, object]]:
    return [{"prompt": f"lake {number}", "seed": number} for number in range(1, count + 1)]
