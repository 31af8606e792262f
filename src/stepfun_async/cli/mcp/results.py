"""The results of the tools: text and a preview for the model, and the same facts as JSON for programs."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from mcp_types import CallToolResult, ContentBlock, ImageContent, TextContent

from stepfun_async import AsyncClient, ImagesResponse, InvalidRequestError, Money, Problem, SaveError, StepFunError
from stepfun_async._core.headers import CONTENT_TYPES, read_header
from stepfun_async._core.rendering import as_seen, on_white
from stepfun_async._core.schemas.serialization import json_value
from stepfun_async._core.text import escaped

from ..errors import UPRIGHT, Rephrasings, rephrased

PREVIEW_SIDE = 512
"""Pixels of the longer side of a preview: enough to judge an image by, at a tenth of the tokens of a whole one."""

_QUALITY = 80


_REPHRASINGS: Rephrasings = (
    (r"Size\(width=([^,]+), height=([^)]+)\)", r'{"width": \1, "height": \2}'),
    (r"; raise Budget\(\.\.\.\) or stop here", "; only the owner of this server can raise its --budget"),
    (
        r"so the budget cannot be enforced: pass Budget\(.*\}\)",
        "so the budget of this server cannot be enforced: choose another model",
    ),
    (r"; register_model\(\) adds one(, validation='off' sends as given)?", "; list_image_models has them all"),
    (r"True or False", "true or false"),
    UPRIGHT,
    (r"; the image is still in image\.data; error\.response has it$", "; the image is in this result"),
)
"""Advice of the SDK, phrased in Python, and its equivalent for an agent."""


def for_agents(text: str) -> str:
    """Rephrase a message of the SDK for agents."""
    return rephrased(text, _REPHRASINGS)


def image_result(
    response: ImagesResponse, client: AsyncClient, price: Money | None, notices: Sequence[str]
) -> CallToolResult:
    """Return the result for an image that was made and saved."""
    image = response.image
    facts: dict[str, object] = {
        "path": str(image.path),
        "width": image.width,
        "height": image.height,
        "format": image.format,
        "seed": image.seed,
        "model": response.model,
        "price": None if price is None else str(price),
        "notices": list(notices),
        "attempts": response.attempts,
        "maybe_billed": response.maybe_billed,
        **money_facts(client),
    }
    seed = "" if image.seed is None else f", seed {image.seed}"
    cost = "" if price is None else f", {price}"
    text = f"Saved {image.width} x {image.height} {image.format} to {image.path}{seed}{cost}."
    return tool_result("\n".join((text, *notices)), facts, image=_preview(response))


def error_result(error: StepFunError, client: AsyncClient) -> CallToolResult:
    """Return the result for a call that failed: what is wrong, what would be right, and what was billed."""
    problems = error.problems if isinstance(error, InvalidRequestError) else ()
    facts: dict[str, object] = {
        "error": type(error).__name__,
        "message": for_agents(str(error)),
        "problems": [problem_facts(problem) for problem in problems],
        "billing": error.billing,
        "attempts": error.attempts,
        "maybe_billed": error.maybe_billed,
        **money_facts(client),
    }
    return tool_result(for_agents(str(error)), facts, is_error=True, image=_unsaved(error))


def _unsaved(error: StepFunError) -> bytes | None:
    """Return the image that was paid for and not written, so that the agent has it; `None` if there is none."""
    return error.response.image.data if isinstance(error, SaveError) else None


def tool_result(
    text: str, facts: Mapping[str, object], *, is_error: bool = False, image: bytes | None = None
) -> CallToolResult:
    """Return a result with `text` for the model and `facts` for programs."""
    content: list[ContentBlock] = [TextContent(type="text", text=escaped(text, lines=True))]
    header = None if image is None else read_header(image)
    if image is not None and header is not None:
        data = base64.b64encode(image).decode("ascii")
        content.append(ImageContent(type="image", data=data, mime_type=CONTENT_TYPES[header.format]))
    plain: Any = json.loads(json.dumps(facts, default=str))
    return CallToolResult(content=content, structured_content=plain, is_error=is_error)


def problem_facts(problem: Problem) -> dict[str, object]:
    """Return a problem as JSON, with the sentence that says it."""
    sentence, allowed = for_agents(str(problem)), for_agents(problem.allowed)
    return {"field": problem.field, "problem": sentence, "allowed": allowed, "nearest": json_value(problem.nearest)}


def money_facts(client: AsyncClient) -> dict[str, object]:
    """Return what this server has spent, and what it may still spend."""
    spent = {currency: str(amount) for currency, amount in client.usage.spent.items()}
    budget = client.budget
    left = None if budget is None else f"{budget.left} {budget.currency}"
    return {"spent_so_far": spent, "budget_left": left}


def _preview(response: ImagesResponse) -> bytes | None:
    """Return the image made small, as JPEG; `None` if it cannot be decoded, which says nothing about the file."""
    from PIL import Image as pillow

    buffer = io.BytesIO()
    with suppress(Exception):  # Pillow's decoders raise OSError, SyntaxError, struct.error, DecompressionBombError, ...
        with pillow.open(io.BytesIO(response.image.to_bytes())) as image:
            on_white(as_seen(image, longest=PREVIEW_SIDE)).save(buffer, "JPEG", quality=_QUALITY)
        return buffer.getvalue()
    return None
