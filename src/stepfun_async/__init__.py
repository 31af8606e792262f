"""An async-first SDK for StepFun's image API: text to image, image editing, image to image.

    from stepfun_async import AsyncClient, Size

    async with AsyncClient() as client:
        response = await client.images.generate("A serene alpine lake", size=Size(width=1360, height=768))
        response.image.save("lake.png")

`Client` has the same methods without `await`. `base_url="embedded"` answers offline, without a key.
Every public name is exported here and imported on first use, so that importing the package is cheap.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
"""True only for type checkers. Importing it from `typing` would take most of this package's import time."""

if TYPE_CHECKING:
    from ._call.outcomes import Failed as Failed
    from ._call.outcomes import Finished as Finished
    from ._client.client import AsyncClient as AsyncClient
    from ._client.sync import Client as Client
    from ._core.capabilities import Capability as Capability
    from ._core.capabilities import CustomModel as CustomModel
    from ._core.capabilities import Lifecycle as Lifecycle
    from ._core.errors import APIConnectionError as APIConnectionError
    from ._core.errors import APIError as APIError
    from ._core.errors import APIStatusError as APIStatusError
    from ._core.errors import APITimeoutError as APITimeoutError
    from ._core.errors import AuthenticationError as AuthenticationError
    from ._core.errors import BadRequestError as BadRequestError
    from ._core.errors import BudgetExceededError as BudgetExceededError
    from ._core.errors import ConfigurationError as ConfigurationError
    from ._core.errors import ContentRejectedError as ContentRejectedError
    from ._core.errors import IneffectiveParameterWarning as IneffectiveParameterWarning
    from ._core.errors import InsufficientBalanceError as InsufficientBalanceError
    from ._core.errors import InternalServerError as InternalServerError
    from ._core.errors import InvalidRequestError as InvalidRequestError
    from ._core.errors import LimitsUnavailableError as LimitsUnavailableError
    from ._core.errors import MalformedResponseError as MalformedResponseError
    from ._core.errors import ModelRetiredWarning as ModelRetiredWarning
    from ._core.errors import NotFoundError as NotFoundError
    from ._core.errors import OrientationWarning as OrientationWarning
    from ._core.errors import PermissionDeniedError as PermissionDeniedError
    from ._core.errors import QueueTimeoutError as QueueTimeoutError
    from ._core.errors import RateLimitError as RateLimitError
    from ._core.errors import StepFunError as StepFunError
    from ._core.errors import StepFunWarning as StepFunWarning
    from ._core.events import AttemptEnded as AttemptEnded
    from ._core.events import CallEnded as CallEnded
    from ._core.events import CallStarted as CallStarted
    from ._core.inspection import ServerReport as ServerReport
    from ._core.money import Money as Money
    from ._core.problems import Problem as Problem
    from ._core.profiles import Server as Server
    from ._core.registry import capabilities as capabilities
    from ._core.registry import register_model as register_model
    from ._core.requests import ImageEdit as ImageEdit
    from ._core.requests import ImageToImage as ImageToImage
    from ._core.requests import TextToImage as TextToImage
    from ._core.results import Account as Account
    from ._core.results import ContentFilteredError as ContentFilteredError
    from ._core.results import Image as Image
    from ._core.results import ImagesResponse as ImagesResponse
    from ._core.results import Model as Model
    from ._core.results import ModelUsage as ModelUsage
    from ._core.results import SaveError as SaveError
    from ._core.results import Usage as Usage
    from ._core.retry import RetryPolicy as RetryPolicy
    from ._core.schemas.types import request_type as request_type
    from ._core.servers import register_server as register_server
    from ._core.servers import servers as servers
    from ._core.sizes import CustomSize as CustomSize
    from ._core.sizes import Size as Size
    from ._limits.budget import Budget as Budget
    from ._limits.limits import Limits as Limits
    from .batch.batch import Batch as Batch
    from .batch.inputs.line_schema import batch_schema as batch_schema

    __version__: str

_HOMES = {
    "_limits.budget": ("Budget",),
    "_client.client": ("AsyncClient",),
    "_client.sync": ("Client",),
    "_limits.limits": ("Limits",),
    "_call.outcomes": ("Failed", "Finished"),
    "batch.batch": ("Batch",),
    "batch.inputs.line_schema": ("batch_schema",),
    "_core.capabilities": ("Capability", "CustomModel", "Lifecycle"),
    "_core.money": ("Money",),
    "_core.registry": ("capabilities", "register_model"),
    "_core.errors": (
        "APIConnectionError",
        "APIError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "BudgetExceededError",
        "ConfigurationError",
        "ContentRejectedError",
        "IneffectiveParameterWarning",
        "InsufficientBalanceError",
        "InternalServerError",
        "InvalidRequestError",
        "LimitsUnavailableError",
        "MalformedResponseError",
        "ModelRetiredWarning",
        "NotFoundError",
        "OrientationWarning",
        "PermissionDeniedError",
        "QueueTimeoutError",
        "RateLimitError",
        "StepFunError",
        "StepFunWarning",
    ),
    "_core.events": ("AttemptEnded", "CallEnded", "CallStarted"),
    "_core.inspection": ("ServerReport",),
    "_core.problems": ("Problem",),
    "_core.profiles": ("Server",),
    "_core.requests": ("ImageEdit", "ImageToImage", "TextToImage"),
    "_core.results": (
        "Account",
        "ContentFilteredError",
        "Image",
        "ImagesResponse",
        "Model",
        "ModelUsage",
        "SaveError",
        "Usage",
    ),
    "_core.retry": ("RetryPolicy",),
    "_core.schemas.types": ("request_type",),
    "_core.servers": ("register_server", "servers"),
    "_core.sizes": ("CustomSize", "Size"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)  # pyright: ignore[reportUnsupportedDunderAll]


def _load(name: str) -> object:
    """Import a public name on first use."""
    if name == "__version__":
        from ._core.version import __version__

        return __version__
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    import_module(f".{home}", __name__)
    _publish()
    return globals()[name]


def _publish() -> None:
    """Export the names of the modules imported so far, under this module's name in tracebacks and pickles."""
    for home, names in _HOMES.items():
        module = sys.modules.get(f"{__name__}.{home}")
        for name in names:
            value = getattr(module, name, None)
            if value is not None:
                value.__module__ = __name__
                globals()[name] = value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # otherwise type checkers would accept any name
    __getattr__ = _load
