"""The server profiles: one frozen row for each kind of server that speaks StepFun's image protocol, or nearly.

A profile adapts a row of the model table to its server before a call is made: names, sizes, formats and
operations. What is left for the call is to send the profile's headers, and to draw a seed where the server
would use the same one each time. A changed fact is one changed cell here.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args, overload

from .capabilities import ENDPOINTS, WIRE_NAMES, Capability, Endpoint, Operation
from .errors import ConfigurationError
from .registration import (
    check_address,
    check_mapping,
    check_name,
    check_names,
    check_operations,
    check_truth,
    check_wire_names,
    check_without,
    check_word,
)
from .rules import AnySize, Choice, ImageInput, Integer, Number, Rule, Sizes, Text, closest
from .text import shown

Seeding = Literal["random", "fixed", "not known"]
"""How a server behaves without a seed: it draws one, or uses the same each time."""

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The form in which a server accepts one operation.

    Attributes:
        endpoint: where it is sent.
        rules: the parameters that the server reads, with the ranges that it documents.
        renamed: what the wire calls a parameter, where it differs from the SDK's name.
        tag: the tag in the prompt that holds the renamed parameters; empty where the body has them.
    """

    endpoint: Endpoint
    rules: Mapping[str, Rule] = field(default_factory=lambda: _EMPTY, repr=False)
    renamed: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The behaviour of one kind of server.

    Attributes:
        name: the name for `server=`, `STEP_SERVER` and `--server`.
        title: what it is, in words.
        routes: the operations it has, with how each is sent.
        verbatim: whether the row of a model holds as it is, as for StepFun and for gateways, which hand all on.
        native: whether it takes every model's parameters under StepFun's own names.
        seeding: what it does without a seed.
        headers: headers to send with each request.
        needs_key: whether it usually wants an API key.
        address: its base URL, or an example.
        has_fixed_address: whether `address` is its base URL, which a client takes if none is given.
        returns: what comes back beside the image, in words.
        errors: the form of its error responses, in words.
        notes: what else is worth knowing, a sentence each.
        source: where the facts are from, with the version.
    """

    name: str
    title: str
    routes: Mapping[Operation, Route] = field(repr=False)
    verbatim: bool = False
    native: bool = False
    seeding: Seeding = "not known"
    headers: Mapping[str, str] = field(default_factory=lambda: _EMPTY, repr=False)
    needs_key: bool = True
    address: str = ""
    has_fixed_address: bool = False
    returns: str = ""
    errors: str = ""
    notes: tuple[str, ...] = field(default=(), repr=False)
    source: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        facts = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "routes"}
        routes = {operation: _thawed(route) for operation, route in self.routes.items()}
        return _remade, ({**facts, "headers": dict(self.headers)}, routes)

    def __str__(self) -> str:
        """The profile for people: a line for each fact."""
        return "\n".join([f"{self.name}: {self.title}", *(f"  {name}: {text}" for name, text in self.facts())])

    def facts(self) -> Iterator[tuple[str, str]]:
        """Each fact with its name, in words."""
        yield "address", self.address or "any"
        yield "operations", ", ".join(self.operations)
        yield "parameters", "those of the model, under StepFun's names" if self.verbatim else self._parameters()
        yield "without a seed", _WITHOUT_SEED[self.seeding]
        if self.headers:
            yield "headers", ", ".join(f"{name}: {value}" for name, value in self.headers.items())
        yield "key", "needed" if self.needs_key else "not needed"
        yield "returns", self.returns
        yield "errors", self.errors
        yield from (("note", note) for note in self.notes)
        yield "source", self.source

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations it has."""
        return tuple(self.routes)

    def adapted(self, row: Capability) -> Capability | None:
        """The row of a model as this server takes it; `None` if the server does not have the operation."""
        if row.server == self.name:
            return row
        if self.native:
            return replace(row, server="", served_at=None, renamed=None, tag="") if row.server else row
        if self.verbatim:
            paths = {route.endpoint.path for route in self.routes.values()}
            return row if row.endpoint.path in paths else None
        route = self.routes.get(row.operation)
        return None if route is None else self._on(route, row)

    def open_rows(self, model: str) -> tuple[Capability, ...]:
        """The rows of a model of which only the server is known."""
        return tuple(
            _row(self.name, model, operation, route, route.rules)
            for operation, route in self.routes.items()
            if route.rules
        )

    def _on(self, route: Route, row: Capability) -> Capability:
        rules = {
            name: _fitted(rule, route.rules[name], keep_default=row.source == "registered")
            for name, rule in row.rules.items()
            if name in route.rules
        }
        base = _row(self.name, row.model, row.operation, route, MappingProxyType(rules))
        return replace(base, source=row.source, prices=row.prices, price_source=row.price_source)

    def _parameters(self) -> str:
        names = {name: route.renamed.get(name, name) for route in self.routes.values() for name in route.rules}
        return ", ".join(name if name == wire else f"{name} as {wire}" for name, wire in names.items())


_WITHOUT_SEED: Mapping[Seeding, str] = {
    "random": "the server draws one",
    "fixed": "the server uses the same each time, so the client draws one",
    "not known": "not known",
}


def _row(server: str, model: str, operation: Operation, route: Route, rules: Mapping[str, Rule]) -> Capability:
    return Capability(
        model=model,
        operation=operation,
        rules=rules,
        source="server",
        server=server,
        served_at=route.endpoint,
        renamed=route.renamed,
        tag=route.tag,
    )


def _fitted(rule: Rule, theirs: Rule, *, keep_default: bool) -> Rule:
    """A model's rule as a server takes it: what the model allows, in the form and with the source of the server."""
    if isinstance(rule, Sizes) and isinstance(theirs, AnySize):
        default = rule.options[0].to_wire(theirs.order) if keep_default and rule.options else None
        return replace(rule, order=theirs.order, default=default, note="", source=theirs.source)
    if isinstance(rule, Integer) and isinstance(theirs, Integer):
        rule = replace(rule, drawn=theirs.drawn, zero_is_random=False)
    if not isinstance(rule, type(theirs)) or isinstance(rule, Choice):
        return theirs
    return rule if keep_default else replace(rule, default=None, note=theirs.note, source=theirs.source)


def _thawed(route: Route) -> dict[str, Any]:
    facts = {each.name: getattr(route, each.name) for each in fields(route)}
    return {**facts, "rules": dict(route.rules), "renamed": dict(route.renamed)}


def _remade(facts: dict[str, Any], routes: dict[Operation, dict[str, Any]]) -> Server:
    """A profile out of a pickle."""
    facts["routes"] = MappingProxyType({operation: _route(**route) for operation, route in routes.items()})
    facts["headers"] = MappingProxyType(facts["headers"])
    return Server(**facts)


def _route(
    endpoint: Endpoint, rules: Mapping[str, Rule], renamed: Mapping[str, str] | None = None, tag: str = ""
) -> Route:
    return Route(
        endpoint=endpoint, rules=MappingProxyType(dict(rules)), renamed=MappingProxyType(dict(renamed or {})), tag=tag
    )


# --- the table ----------------------------------------------------------------------------------

_GENERATIONS, _EDITS = ENDPOINTS["text_to_image"], ENDPOINTS["edit"]
_MOST_SEEDS = 2**31 - 1
_MEGABYTES = 1024 * 1024

_PROMPT = Text(required=True, minimum=1, maximum=100_000, source="server")
_NEGATIVE = Text(minimum=0, maximum=100_000, source="server")
_SIZE = AnySize(source="server")
_B64 = Choice(options=("b64_json",), default="b64_json", source="server")
_B64_OR_URL = Choice(options=("b64_json", "url"), default="url", source="server")
_IMAGE = ImageInput(
    required=True, formats=("png", "jpeg", "webp"), max_bytes=64 * _MEGABYTES, max_side=16384, source="server"
)
_STRENGTH = Number(
    required=True, minimum=0.0, above=True, maximum=1.0, source="server", note="smaller: closer to the source"
)
_SEED = Integer(minimum=0, maximum=_MOST_SEEDS, source="server", note="absent: random")
_SEED_42 = Integer(minimum=0, maximum=_MOST_SEEDS, drawn=True, source="server", note="absent: 42, so one is drawn")


def _count(maximum: int) -> Integer:
    return Integer(minimum=1, maximum=maximum, default=1, source="server")


def _steps(maximum: int) -> Integer:
    return Integer(minimum=1, maximum=maximum, source="server")


def _guidance(maximum: float) -> Number:
    return Number(minimum=0.0, maximum=maximum, source="server")


_STEPFUN_ROUTES: Mapping[Operation, Route] = MappingProxyType(
    {operation: Route(endpoint=endpoint, renamed=WIRE_NAMES[operation]) for operation, endpoint in ENDPOINTS.items()}
)

_SGLANG_NAMES = {"steps": "num_inference_steps", "cfg_scale": "guidance_scale"}
_OMNI_NAMES = {"steps": "num_inference_steps", "cfg_scale": "true_cfg_scale"}
_CPP_NAMES = {
    "seed": "seed",
    "negative_prompt": "negative_prompt",
    "steps": "sample_params.sample_steps",
    "cfg_scale": "sample_params.guidance.txt_cfg",
}

_SGLANG: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(10),
    "response_format": _B64_OR_URL,
    "seed": _SEED_42,
    "steps": _steps(1000),
    "cfg_scale": _guidance(100.0),
    "negative_prompt": _NEGATIVE,
}
_OMNI: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": replace(_SIZE, note="absent: the model's own"),
    "n": _count(10),
    "response_format": _B64,
    "seed": replace(_SEED, maximum=2**63 - 1),
    "steps": _steps(200),
    "cfg_scale": _guidance(20.0),
    "negative_prompt": _NEGATIVE,
}
_OMNI_EDIT: Mapping[str, Rule] = {**_OMNI, "image": _IMAGE, "size": replace(_SIZE, note="absent: that of the image")}
_CPP: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(8),
    "seed": _SEED_42,
    "steps": _steps(100),
    "cfg_scale": _guidance(100.0),
    "negative_prompt": _NEGATIVE,
}
_LOCALAI: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(10),
    "response_format": _B64_OR_URL,
    "seed": replace(_SEED_42, note="absent: the model's configuration says, so one is drawn"),
    "steps": _steps(1000),
}
_DIFFUSERS: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": AnySize(minimum=64, maximum=4096, source="server"),
    "n": _count(1),
    "response_format": _B64_OR_URL,
    "seed": _SEED,
    "steps": _steps(500),
    "cfg_scale": _guidance(50.0),
    "negative_prompt": _NEGATIVE,
}
_OPENAI: Mapping[str, Rule] = {
    "prompt": _PROMPT,
    "size": _SIZE,
    "n": _count(10),
    "response_format": _B64_OR_URL,
}


_ANY: Mapping[str, Rule] = {
    "seed": _SEED,
    "steps": _steps(1000),
    "cfg_scale": _guidance(100.0),
    "negative_prompt": _NEGATIVE,
    "source_weight": _STRENGTH,
}
"""The rules of parameters that `register_server` adds to a profile without them."""


def _with_image(rules: Mapping[str, Rule]) -> Mapping[str, Rule]:
    return {"image": _IMAGE, **rules}


def _without(rules: Mapping[str, Rule], name: str, **others: Rule) -> Mapping[str, Rule]:
    return {**{each: rule for each, rule in rules.items() if each != name}, **others}


BUILT_IN_SERVERS: tuple[Server, ...] = (
    Server(
        name="stepfun",
        title="StepFun's own hosts, international and China, the Step Plan, and proxies in front of them",
        routes=_STEPFUN_ROUTES,
        verbatim=True,
        native=True,
        seeding="random",
        address="https://api.stepfun.ai/v1",
        has_fixed_address=True,
        returns="seed, finish_reason, created, id, X-Trace-Id",
        errors='{"error": {"message", "type"}}',
        notes=(
            "China: https://api.stepfun.com/v1. Step Plan: .../step_plan/v1, without an image model since 2026-09-20.",
            "The image models were announced to stop on 2026-10-10.",
        ),
        source="StepFun documentation, 2026-06 to 2026-10",
    ),
    Server(
        name="embedded",
        title="the engine of this package, in the process or behind `stepfun-async serve`",
        routes=_STEPFUN_ROUTES,
        verbatim=True,
        native=True,
        seeding="random",
        needs_key=False,
        address="embedded",
        has_fixed_address=True,
        returns="seed, finish_reason, created, id, X-Trace-Id",
        errors='{"error": {"message", "type"}}',
        source="this package",
    ),
    Server(
        name="diffusers",
        title="a local model behind `stepfun-async serve --engine diffusers`",
        routes=MappingProxyType(
            {
                "text_to_image": _route(_GENERATIONS, _DIFFUSERS),
                "edit": _route(_EDITS, _with_image(_DIFFUSERS)),
                "image_to_image": _route(
                    ENDPOINTS["image_to_image"],
                    _without(_with_image(_DIFFUSERS), "negative_prompt", source_weight=_STRENGTH),
                    WIRE_NAMES["image_to_image"],
                ),
            }
        ),
        seeding="random",
        address="http://127.0.0.1:8000/v1",
        returns="seed, finish_reason, created, id, X-Trace-Id",
        errors='{"error": {"message", "type"}}',
        notes=(
            "Which operations and parameters a model has depends on its pipeline; others are refused with 400.",
            "It makes one image at a time; where too many wait, it answers 429 with Retry-After.",
            "Any key will do, unless the server was given some.",
        ),
        source="run: this package, with diffusers 0.42.1",
    ),
    Server(
        name="litellm",
        title="LiteLLM's proxy, with the entry `model: hosted_vllm/NAME` for each model",
        routes=MappingProxyType({name: _STEPFUN_ROUTES[name] for name in ("text_to_image", "edit")}),
        verbatim=True,
        headers=MappingProxyType({"x-litellm-num-retries": "0"}),
        address="http://localhost:4000/v1",
        returns="created; no seed, finish_reason or X-Trace-Id",
        errors='{"error": {"message", "type", "param", "code"}}, with the status as text in code',
        notes=(
            "An entry `openai/NAME` refuses response_format with 400 before anything is sent.",
            "Without the header, it sends a failed request up to 9 times; with it once, up to 3 times before 1.110.",
            "An image that the content filter withheld arrives as an item with neither image nor link.",
        ),
        source="run: 1.110.2, 1.106.2, 1.108.7",
    ),
    Server(
        name="sglang",
        title="SGLang's diffusion server",
        routes=MappingProxyType(
            {
                "text_to_image": _route(_GENERATIONS, _SGLANG, _SGLANG_NAMES),
                "edit": _route(_EDITS, _with_image(_SGLANG), _SGLANG_NAMES),
            }
        ),
        seeding="fixed",
        needs_key=False,
        address="http://localhost:30000/v1",
        returns="created, id; no seed or finish_reason",
        errors='{"detail": "text"} with 400, {"detail": [...]} with 422, plain text with 500',
        notes=(
            "Without a seed, every image is drawn with seed 42.",
            "steps, cfg_scale and text_mode under StepFun's names are ignored without an error.",
            "It serves one model, and ignores the name in the request.",
            "response_format url needs --output-path.",
        ),
        source="run: wheel 0.5.23 with the engine replaced",
    ),
    Server(
        name="vllm-omni",
        title="vLLM-Omni's server",
        routes=MappingProxyType(
            {
                "text_to_image": _route(_GENERATIONS, _OMNI, _OMNI_NAMES),
                "edit": _route(_EDITS, _OMNI_EDIT, _OMNI_NAMES),
                "image_to_image": _route(
                    _EDITS,
                    _without(_OMNI_EDIT, "negative_prompt", source_weight=_STRENGTH),
                    {**_OMNI_NAMES, "source_weight": "strength"},
                ),
            }
        ),
        seeding="random",
        needs_key=False,
        address="http://localhost:8091/v1",
        returns="created; no seed, finish_reason or id",
        errors='{"error": {"message", "type", "param", "code"}}, bad parameters with 400; {"error": "text"} with 401; '
        '{"detail": "text"} with 404 for a path that it does not have',
        notes=(
            "steps, cfg_scale and text_mode under StepFun's names are ignored without an error.",
            "cfg_scale is sent as true_cfg_scale; models of distilled guidance, such as Flux, take guidance_scale.",
            "image_to_image is sent to /images/edits, with source_weight as strength.",
            "It serves one model, and refuses every name but the first of --served-model-name with 400.",
            "It has no path for a single model: models.retrieve() gets 404, so use models.list().",
            "Its PNGs are not compressed, unless extra_body has output_compression, such as 40.",
            "Edits are not checked against the ranges of n, steps and cfg_scale, which are those of text to image.",
        ),
        source="run: 0.30.0 with the engine replaced",
    ),
    Server(
        name="sd-server",
        title="stable-diffusion.cpp's sd-server",
        routes=MappingProxyType(
            {
                "text_to_image": _route(_GENERATIONS, _CPP, _CPP_NAMES, "sd_cpp_extra_args"),
                "edit": _route(_EDITS, _with_image(_CPP), _CPP_NAMES, "sd_cpp_extra_args"),
            }
        ),
        seeding="fixed",
        needs_key=False,
        address="http://localhost:1234/v1",
        returns="created; no seed, finish_reason or id",
        errors='{"error": "text"}',
        notes=(
            "Seed, steps, cfg_scale and negative_prompt go into the prompt, in the tag <sd_cpp_extra_args>.",
            "Without a seed, every image is drawn with seed 42, unless the server was started with --seed -1.",
            "It serves one model, and ignores the name in the request. It returns base64 only.",
        ),
        source="read: source of 2026 (examples/server/api.md, routes_openai.cpp); not run",
    ),
    Server(
        name="localai",
        title="LocalAI",
        routes=MappingProxyType({"text_to_image": _route(_GENERATIONS, _LOCALAI, {"steps": "step"})}),
        seeding="not known",
        needs_key=False,
        address="http://localhost:8080/v1",
        returns="created, id; no seed or finish_reason",
        errors='{"error": {"message", "type", "code"}}',
        notes=(
            "A | in the prompt begins the negative prompt.",
            "Without a size, or with one it cannot read, images are 512x512.",
        ),
        source="read: source of 2025 (core/http/endpoints/openai/image.go); not run",
    ),
    Server(
        name="openai",
        title="any other server of this shape; the profile of every address that is not known",
        routes=MappingProxyType(
            {
                "text_to_image": _route(_GENERATIONS, _OPENAI),
                "edit": _route(_EDITS, _with_image(_OPENAI)),
                "image_to_image": _STEPFUN_ROUTES["image_to_image"],
            }
        ),
        verbatim=True,
        returns="as the server does",
        errors='{"error": {"message", "type"}}, or whatever the server sends',
        notes=("Models of the table are sent in StepFun's own form, so gateways in front of StepFun need no profile.",),
        source="OpenAI's documentation of images, 2026",
    ),
)
"""Every profile of this package."""

DEFAULT_SERVER = next(row for row in BUILT_IN_SERVERS if row.name == "openai")

_servers: dict[str, Server] = {row.name: row for row in BUILT_IN_SERVERS}


def find_server(name: object) -> Server:
    """The profile that `name` names, or the profile that it is.

    Raises:
        ConfigurationError: there is none of this name.
    """
    if isinstance(name, Server):
        return name
    found = _servers.get(name) if type(name) is str else None
    if found is None:
        near = closest(name, tuple(_servers))
        hint = f"; did you mean {near!r}?" if near else ""
        raise ConfigurationError(
            f"no server profile {shown(name)}{hint}; known: {', '.join(_servers)}; register_server() adds one"
        )
    return found


@overload
def servers() -> tuple[Server, ...]: ...
@overload
def servers(name: str) -> Server: ...
def servers(name: str | None = None) -> tuple[Server, ...] | Server:
    """The server profiles.

    Args:
        name: only the profile of this name.

    Returns:
        All profiles, or the one profile.

    Raises:
        ConfigurationError: there is no such profile.

    >>> servers("sglang").seeding
    'fixed'
    """
    return tuple(_servers.values()) if name is None else find_server(name)


def register_server(
    name: str,
    *,
    like: str = "openai",
    address: str = "",
    operations: Collection[Operation] | None = None,
    wire_names: Mapping[str, str] | None = None,
    without: Collection[str] = (),
    formats: Collection[str] | None = None,
    seeding: Seeding | None = None,
    headers: Mapping[str, str] | None = None,
    needs_key: bool | None = None,
) -> Server:
    """Add a profile for another kind of server, described by how it differs from a known one.

    Args:
        name: the name for `server=`.
        like: the profile to start from.
        address: the base URL that clients use if none is given.
        operations: which of its operations the server has; all of them when absent.
        wire_names: what the server calls a parameter, by the SDK's name: `{"steps": "num_inference_steps"}`.
            A parameter that the profile to start from does not have is added.
        without: parameters that it does not read.
        formats: the values of `response_format` that it takes.
        seeding: what it does without a seed; with `fixed`, clients draw one.
        headers: headers to send with each request.
        needs_key: whether it wants an API key.

    Returns:
        The profile.

    Raises:
        ConfigurationError: `name` is taken by a built-in profile, `like` is not known, or a change does not fit it.

    >>> studio = register_server("studio", like="sglang", wire_names={"cfg_scale": "true_cfg_scale"})
    >>> studio.routes["text_to_image"].renamed["cfg_scale"]
    'true_cfg_scale'
    """
    check_name(name, "a server profile")
    if any(row.name == name for row in BUILT_IN_SERVERS):
        raise ConfigurationError(f"{name!r} is a built-in server profile: choose another name")
    base = find_server(like)
    check_address(address)
    check_operations(operations)
    check_mapping("headers", headers, "{'x-team': 'art'}")
    check_truth("needs_key", needs_key)
    _refuse_unfit(base, wire_names, without, formats, seeding)
    kept = {
        operation: route for operation, route in base.routes.items() if operations is None or operation in operations
    }
    if not kept:
        raise ConfigurationError(f"{like!r} has none of the operations {sorted(operations or ())}")
    _refuse_unknown(base, {*(wire_names or ()), *without})
    routes = {
        operation: _changed(route, wire_names or {}, without, formats, seeding) for operation, route in kept.items()
    }
    for operation, route in kept.items():
        check_without(operation, route.rules, without)
        check_wire_names(name, routes[operation].rules, routes[operation].renamed)
    server = replace(
        base,
        name=name,
        title=f"registered, like {like}",
        routes=MappingProxyType(routes),
        verbatim=base.verbatim and not (wire_names or without or formats or seeding),
        native=base.native and not (wire_names or without or formats or seeding),
        seeding=seeding or base.seeding,
        headers=MappingProxyType({**base.headers, **(headers or {})}),
        needs_key=base.needs_key if needs_key is None else needs_key,
        address=address,
        has_fixed_address=bool(address),
        notes=(),
        source="given to register_server()",
    )
    _servers[name] = server
    return server


def _refuse_unfit(
    base: Server,
    wire_names: Mapping[str, str] | None,
    without: Collection[str],
    formats: Collection[str] | None,
    seeding: Seeding | None,
) -> None:
    """Refuse changes of parameters that are of the wrong kind, or that the profile to start from cannot have."""
    check_mapping("wire_names", wire_names, "{'steps': 'num_inference_steps'}")
    check_names("without", without)
    if formats is not None:
        check_names("formats", formats, ("b64_json", "url"))
    if seeding is not None:
        check_word("seeding", seeding, get_args(Seeding))
    given = {"wire_names": wire_names, "without": without, "formats": formats, "seeding": seeding}
    named = [name for name, value in given.items() if value]
    own = {name for route in base.routes.values() for name in route.rules}
    if named and not own:
        raise ConfigurationError(
            f"the profile {base.name!r} hands a model's parameters on as they are, so that {', '.join(named)} does not "
            "fit it: start from another, such as like='openai'"
        )
    if formats is not None and not (formats and "response_format" in own):
        raise ConfigurationError(
            "formats needs a response_format and at least one value: say without=['response_format']"
        )
    if seeding == "fixed" and ("seed" in without or "seed" not in own | set(wire_names or ())):
        raise ConfigurationError(
            f"seeding='fixed' has clients send a seed, which the profile {base.name!r} does not have: "
            "say wire_names={'seed': 'seed'}"
        )


def _refuse_unknown(base: Server, named: set[str]) -> None:
    known = {name for route in base.routes.values() for name in route.rules} | _ANY.keys()
    if unknown := sorted(named - known):
        raise ConfigurationError(f"no parameter {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _changed(
    route: Route,
    wire_names: Mapping[str, str],
    without: Collection[str],
    formats: Collection[str] | None,
    seeding: Seeding | None,
) -> Route:
    added = {name: rule for name, rule in _ANY.items() if name in wire_names and route.rules}
    rules = {name: rule for name, rule in {**added, **route.rules}.items() if name not in without}
    if formats is not None and "response_format" in rules:
        rules["response_format"] = Choice(options=tuple(formats), source="server")
    if seeding is not None and isinstance(seed := rules.get("seed"), Integer):
        rules["seed"] = replace(seed, drawn=seeding == "fixed", note="")
    renamed = {**route.renamed, **{name: wire for name, wire in wire_names.items() if name in rules}}
    return _route(route.endpoint, rules, renamed, route.tag)
