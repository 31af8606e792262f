"""What `Parameters` says of itself; what becomes of the parameters is in the tests of requests and of the wire."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepfun_async._core.capabilities import Operation
from stepfun_async._core.parameters import Parameters


@pytest.mark.parametrize(
    ("operation", "model", "given", "blocks"),
    [
        ("text_to_image", "step-image-edit-2", {}, False),
        ("edit", "step-image-edit-2", {"image": b"any"}, False),
        ("edit", "step-image-edit-2", {"image": bytearray(b"any")}, True),
        ("edit", "step-image-edit-2", {"image": "a.png"}, True),
        ("edit", "step-image-edit-2", {"image": Path("a.png")}, True),
        ("edit", "an-unknown-model", {"image": b"any"}, True),
        ("image_to_image", "step-1x-medium", {"image": b"any"}, True),
        ("text_to_image", "step-1x-medium", {"style_reference": {"source_url": b"any", "weight": 1.0}}, True),
    ],
)
def test_only_images_that_are_read_or_encoded_may_block(
    operation: Operation, model: str, given: dict[str, object], *, blocks: bool
) -> None:
    assert Parameters(operation, model, {"prompt": "a lake", **given}).may_block is blocks
