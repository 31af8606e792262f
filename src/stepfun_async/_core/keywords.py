"""Keywords of other image packages, and the equivalent of each here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from .rules import closest

_ONE_IMAGE = "StepFun's models have no such setting"

CALL_KEYWORDS: Mapping[str, str] = MappingProxyType(
    {
        "api_key": "give it to the client",
        "background": f"{_ONE_IMAGE}; say it in the prompt",
        "base_url": "give it to the client",
        "cfg": "use cfg_scale=",
        "extra_query": "there is none; extra_body= and extra_headers= are sent as given",
        "guidance_scale": "use cfg_scale=",
        "height": "use size=Size(width=..., height=...)",
        "input_fidelity": f"{_ONE_IMAGE}; image_to_image(source_weight=...) sets how close to stay",
        "mask": f"{_ONE_IMAGE}; say in the prompt what to change",
        "max_retries": "give the client retry=RetryPolicy(max_attempts=...), which counts the first attempt, too",
        "moderation": f"{_ONE_IMAGE}; a rejected prompt raises ContentRejectedError",
        "num_images": "use n=, or images.map() for many images",
        "num_images_per_prompt": "use n=, or images.map() for many images",
        "num_inference_steps": "use steps=",
        "output_compression": "save what image.to_pil() returns with the quality you want",
        "output_format": "the server chooses the format; image.format names it",
        "partial_images": f"{_ONE_IMAGE}; the image arrives whole",
        "quality": f"{_ONE_IMAGE}; steps= and cfg_scale= are what changes the quality",
        "retries": "give the client retry=RetryPolicy(max_attempts=...)",
        "strength": "use source_weight=, which is smaller for images closer to the source",
        "stream": f"{_ONE_IMAGE}; the image arrives whole",
        "style": f"{_ONE_IMAGE}; say it in the prompt, or use style_reference=, which step-1x-medium has",
        "user": f"{_ONE_IMAGE}; extra_headers= can carry an id for your own gateway",
        "width": "use size=Size(width=..., height=...)",
    }
)
"""Parameters of calls: those of the openai package 3.57, of diffusers 0.35 and of common servers."""

CLIENT_KEYWORDS: Mapping[str, str] = MappingProxyType(
    {
        "default_query": "put the query into base_url=",
        "http_client": "use transport= for an httpx transport, and proxy= for a proxy",
        "max_concurrency": "use limits=Limits(max_concurrency=...)",
        "max_retries": "use retry=RetryPolicy(max_attempts=...), which counts the first attempt, too",
        "organization": "StepFun has no organizations; default_headers= can carry an id for your own gateway",
        "project": "StepFun has no projects; default_headers= can carry an id for your own gateway",
        "requests_per_minute": "use limits=Limits(requests_per_minute=...)",
    }
)
"""Parameters of clients: those of the openai package 3.57."""


def advice_on(name: str, allowed: Collection[str], elsewhere: Mapping[str, str]) -> str:
    """Return what to write in place of the keyword `name`; empty if nothing is near."""
    if name in elsewhere:
        return elsewhere[name]
    nearest = closest(name, tuple(allowed))
    return f"did you mean {nearest}=?" if nearest else ""


def unknown_keywords(
    function: str, unknown: Iterable[str], allowed: Collection[str], elsewhere: Mapping[str, str] = CALL_KEYWORDS
) -> TypeError:
    """Return the error to raise for keywords that `function` does not have.

    >>> print(unknown_keywords("generate()", ["num_inference_steps"], ["steps"]))
    generate() has no parameter num_inference_steps: use steps=
    """
    parts = [(name, advice_on(name, allowed, elsewhere)) for name in unknown]
    said = "; and no ".join(f"{name}: {advice}" if advice else name for name, advice in parts)
    rest = "" if all(advice for _, advice in parts) else f"; it has {', '.join(allowed)}"
    return TypeError(f"{function} has no parameter {said}{rest}")
