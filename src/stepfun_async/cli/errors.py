"""Errors as text and as JSON, phrased for the command line."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeAlias

from stepfun_async import InvalidRequestError, Problem, SaveError, Size, StepFunError
from stepfun_async._core.errors import Billing

from . import exit_codes as exits
from .console import echo_json, echo_stderr


class Interrupted(Exception):  # noqa: N818 - not an error
    """Ctrl-C during a request for an image.

    Attributes:
        billing: the billing state of the last attempt.
        attempts: the number of attempts.
        maybe_billed: the number of them that may have been billed.
    """

    def __init__(self, message: str, *, billing: Billing, attempts: int, maybe_billed: int) -> None:
        super().__init__(message)
        self.billing: Billing = billing
        self.attempts = attempts
        self.maybe_billed = maybe_billed


_OPTIONS = {
    "prompt": "PROMPT",
    "image": "IMAGE",
    "operation": "the command",
    "save_to": "--out",
    "style_reference.source_url": "--style-reference",
    "style_reference.weight": "--style-weight",
}
"""The options of fields whose names differ; every other field has the option of its name."""

Rephrasings: TypeAlias = tuple[tuple[str, str], ...]
"""Patterns of phrases in messages of the SDK, and what replaces each."""

UPRIGHT = (r"give a PIL image, such as Image\.open\(path\), to have it sent upright", "save it upright first")

REPHRASINGS: Rephrasings = (
    (r"pass api_key=\.\.\., set ", "set "),
    (r"api_key=\.\.\., (?=STEP_API_KEY)", ""),
    (r"pass the key as api_key=\.\.\.", "set STEP_API_KEY"),
    (r"base_url='embedded'", "--base-url embedded"),
    (r"\bbase_url=\.\.\.", "--base-url"),
    (r"\bbase_url\b", "--base-url"),
    (r"pass allow_http=True", "give --allow-http"),
    (r"\bedit\(\) takes", "stepfun-async edit takes"),
    (r"client\.server\.inspect\(\)", "stepfun-async server URL"),
    (r"\bserver='([^']*)'", r"--server \1"),
    (r"\bleave server out\b", "leave --server out"),
    (r"; register_server\(\) adds one", "; stepfun-async servers shows them"),
    (r"overwrite=True", "--overwrite is given"),
    (r"accept_changes=True", "--accept-changes"),
    (r"raise Budget\(\.\.\.\) or stop here", "raise --budget or stop here"),
    (r"lower Limits\(max_concurrency=\.\.\.\)", "run fewer at once"),
    (r"; register_model\(\) adds one(, validation='off' sends as given)?", "; stepfun-async models lists them"),
    (r"Size\(width=([^,]+), height=([^)]+)\)", r"--width \1 --height \2"),
    (r"timeout=(\S+) seconds", r"--timeout \1 seconds"),
    UPRIGHT,
    (r"^stop\(\) was called$", "interrupted"),
    (r"; error\.response has (it|its link)", ""),
    (r"; the image is still in image\.data$", ""),
    (r"they can be read once; give a list or a file$", "stdin can be read once; give a file"),
    (r"[;,] (and )?error\.body has what came", ""),
)
"""Advice of the SDK, phrased in Python, and its equivalent on the command line."""


def rephrased(text: str, rephrasings: Rephrasings = REPHRASINGS) -> str:
    """Rephrase a message of the SDK, for the command line by default."""
    for python, here in rephrasings:
        text = re.sub(python, here, text)
    return text


def option_of(field: str) -> str:
    """Return the option or argument for a field of a request."""
    return _OPTIONS.get(field) or "--" + field.partition(".")[0].replace("_", "-")


def report(error: StepFunError, *, as_json: bool) -> int:
    """Print `error`, and return the exit code.

    Args:
        error: the error.
        as_json: whether to print it also as JSON on stdout.
    """
    lines = list(_lines(error))
    echo_stderr(*lines)
    if as_json:
        echo_json({"error": _content(error, lines)})
    return exits.code_of(error)


def report_plain(
    kind: str,
    message: str,
    *,
    as_json: bool,
    billing: Billing = "not_sent",
    attempts: int = 0,
    maybe_billed: int = 0,
) -> None:
    """Print a failure that the SDK did not raise."""
    echo_stderr(f"error: {message}")
    if as_json:
        money = {"billing": billing, "attempts": attempts, "maybe_billed": maybe_billed}
        problems: list[object] = []
        echo_json({"error": {"type": kind, "message": message, **money, "trace_id": None, "problems": problems}})


def _lines(error: StepFunError) -> Iterator[str]:
    first, *rest = error.message.splitlines() or [""]
    yield f"error: {rephrased(first)}"
    if isinstance(error, InvalidRequestError):
        yield from (f"  {_describe_problem(problem)}" for problem in error.problems)
    else:
        yield from rest
    if isinstance(error, SaveError):
        yield from _save_fallback(error)
    if error.maybe_billed:
        yield f"attempts: {error.attempts}, of which {error.maybe_billed} may have been billed"
    if error.trace_id:
        yield f"trace id: {error.trace_id} (support asks for it)"


def _describe_problem(problem: Problem) -> str:
    return rephrased(str(replace(problem, field=option_of(problem.field))))


def _save_fallback(error: SaveError) -> Iterator[str]:
    """Write the paid image to a temporary file before the process ends, and yield a line that says where it is."""
    image = next((image for image in error.response.data if not image.filtered), None)
    if image is None or image.data is None:
        yield f"its link: {image.url}" if image and image.url else "its link is not known"
        return
    end = image.target("picture").suffix
    try:
        with tempfile.NamedTemporaryFile(prefix="stepfun-", suffix=end, delete=False) as file:
            file.write(image.data)
        yield f"the image is in {file.name}"
    except OSError as second_error:
        yield f"nor could it be written to a temporary file: {second_error}"


def _content(error: StepFunError, lines: list[str]) -> dict[str, Any]:
    problems = error.problems if isinstance(error, InvalidRequestError) else ()
    return {
        "type": type(error).__name__,
        "message": "\n".join(lines).removeprefix("error: "),
        "billing": error.billing,
        "attempts": error.attempts,
        "maybe_billed": error.maybe_billed,
        "trace_id": error.trace_id,
        "problems": [_problem(problem) for problem in problems],
    }


def _problem(problem: Problem) -> dict[str, object]:
    nearest = problem.nearest
    return {
        "field": problem.field,
        "option": option_of(problem.field),
        "given": problem.given,
        "allowed": rephrased(problem.allowed),
        "why": rephrased(problem.why),
        "nearest": {"width": nearest.width, "height": nearest.height} if isinstance(nearest, Size) else nearest,
    }
