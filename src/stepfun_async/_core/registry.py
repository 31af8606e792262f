"""The rows: looking them up, and adding those of other servers' models."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast, get_args, overload

from .capabilities import BUILT_IN, ENDPOINTS, Capabilities, Capability, CustomModel, Operation, Region
from .errors import ConfigurationError
from .money import Money
from .profiles import Server
from .registration import (
    bounds,
    check_mapping,
    check_name,
    check_names,
    check_operations,
    check_prices,
    check_sizes,
    check_wire_names,
    check_without,
    check_word,
)
from .rules import Integer, Number, Rule, Text
from .servers import find_server
from .size_rules import AnySize, Sizes
from .sizes import Order, Size

_table: dict[tuple[str, Operation], Capability] = {(row.model, row.operation): row for row in BUILT_IN}

_adapted: dict[tuple[str, str, Operation], tuple[Capability, Server, Capability | None]] = {}
"""Rows adapted to a server, each with the row and the profile that it was made from, by server, model and operation."""


def rows() -> Iterator[Capability]:
    """Every row, built in and registered."""
    yield from tuple(_table.values())


def row_of(model: object, operation: Operation, server: Server | None = None) -> Capability | None:
    """The row of `model` for `operation` as `server` takes it; `None` if the table or the server has none.

    Without a server, it is the row of the table: that of StepFun's own models as StepFun takes them.
    """
    if type(model) is not str:  # a subclass may hash and compare as it likes
        if not issubclass(type(model), str):
            return None
        model = str.__str__(cast("str", model))
    row = _table.get((model, operation))
    if server is None or row is None:
        return row
    key = (server.name, model, operation)
    if key in _adapted:
        before, adapted_to, adapted = _adapted[key]
        if before is row and adapted_to is server:
            return adapted
    adapted = server.adapted(row)
    _adapted[key] = (row, server, adapted)
    return adapted


@overload
def capabilities() -> tuple[Capability, ...]: ...
@overload
def capabilities(model: str) -> tuple[Capability, ...]: ...
@overload
def capabilities(model: str, operation: Operation) -> Capability: ...
def capabilities(model: str | None = None, operation: Operation | None = None) -> tuple[Capability, ...] | Capability:
    """The model tables.

    Args:
        model: only the rows of this model.
        operation: only the row of this operation: `text_to_image`, `edit` or `image_to_image`.

    Returns:
        All rows, the rows of one model, or the one row of a model and operation.

    Raises:
        ConfigurationError: there is no such model, or it does not have that operation.

    >>> [row.operation for row in capabilities("step-2x-large")]
    ['text_to_image', 'image_to_image']
    >>> capabilities("step-2x-large", "image_to_image").rules["steps"].allowed
    'a whole number from 1 to 100'
    """
    found = Capabilities(row for row in rows() if model in (None, row.model) and operation in (None, row.operation))
    if not found:
        known = ", ".join(sorted({row.model for row in rows()}))
        wanted = f"{model!r}" + (f" with operation {operation!r}" if operation else "")
        raise ConfigurationError(f"no model {wanted} in the tables; known: {known}; register_model() adds one")
    return found[0] if model is not None and operation is not None else found


def register_model(
    name: str,
    *,
    like: str | None = None,
    server: str | Server | None = None,
    operations: Collection[Operation] | None = None,
    sizes: Sequence[str | Size] | None = None,
    size_order: Order | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    defaults: Mapping[str, object] | None = None,
    without: Collection[str] = (),
    wire_names: Mapping[str, str] | None = None,
    prices: Mapping[Region, Money] | None = None,
) -> CustomModel:
    """Add a model of another server to the tables, described by how it differs from a known one.

    A model of an open engine needs one line: `register_model("Qwen/Qwen-Image", server="vllm-omni")` has the
    parameters, names and formats of the server's profile.

    Args:
        name: the model's name on the wire.
        like: a model of the tables to start from; needed unless the server's profile has parameters of its own.
        server: the profile of the server that serves it, one of `servers()`. The server's names of the
            parameters, its formats and its order of sizes hold for the model with every client.
        operations: which of its operations the new model has; all of them when absent.
        sizes: the sizes it makes, as wire strings or `Size`; the first one is its default.
        size_order: how its wire strings order the sides; that of `like` when absent.
        ranges: for text and numbers, the smallest and the largest allowed, by parameter:
            `{"steps": (1, 8), "prompt": (1, 2000)}`.
        defaults: what the server takes for an absent parameter, by parameter. A model that makes any size makes
            an aspect ratio such as `16:9` at the area of the size that is named here, 1024x1024 when absent.
        without: parameters it does not have.
        wire_names: what the wire calls a parameter, by the SDK's name: `{"cfg_scale": "guidance_scale"}`.
        prices: what an image costs, by region; not known when absent.

    Returns:
        `name`, as a type that the methods' signatures accept.

    Raises:
        ConfigurationError: `name` is taken by a built-in model, `like` or `server` is missing or not known, or
            a change does not fit the model's parameters.

    >>> turbo = register_model("acme-turbo", like="step-2x-large", ranges={"steps": (1, 4)}, sizes=["512x512"])
    >>> capabilities(turbo, "text_to_image").rules["steps"].allowed
    'a whole number from 1 to 4'
    """
    check_name(name, "a model")
    refuse_built_in(name)
    check_operations(operations)
    check_names("without", without)
    check_prices(prices)
    for argument, given, example in (
        ("ranges", ranges, "{'steps': (1, 8)}"),
        ("defaults", defaults, "{'steps': 4}"),
        ("wire_names", wire_names, "{'cfg_scale': 'guidance_scale'}"),
    ):
        check_mapping(argument, given, example)
    check_sizes(sizes)
    if size_order is not None:
        check_word("size_order", size_order, get_args(Order))
    kept = [row for row in _bases(name, like, server) if operations is None or row.operation in operations]
    if not kept:
        base = like if server is None else f"{like or 'a model'} on {find_server(server).name}"
        raise ConfigurationError(f"{base} has none of the operations {', '.join(sorted(operations or ENDPOINTS))}")
    changed = [
        replace(
            row,
            model=name,
            rules=MappingProxyType(_changed(row, sizes, size_order, ranges or {}, defaults or {}, without)),
            renamed=MappingProxyType({**row.wire_names, **wire_names}) if wire_names else row.renamed,
            prices=MappingProxyType(dict(prices or {})),
            price_source="registered" if prices else "",
            lifecycle=None,
            step_plan=False,
            source="registered",
        )
        for row in kept
    ]
    _refuse_unknown({*(ranges or ()), *(defaults or ()), *without, *(wire_names or ())}, kept)
    for row, new in zip(kept, changed, strict=True):
        check_without(row.operation, row.rules, without)
        check_wire_names(name, new.rules, new.wire_names)
    for operation in ENDPOINTS:
        _table.pop((name, operation), None)  # registering a model again replaces its description
    _table.update({(row.model, row.operation): row for row in changed})
    return CustomModel(name)


def _bases(name: str, like: str | None, server: str | Server | None) -> tuple[Capability, ...]:
    """Return the rows that a new model is based on."""
    profile = None if server is None else find_server(server)
    if like is not None:
        found = capabilities(like)
        return found if profile is None else tuple(filter(None, map(profile.adapted, found)))
    if profile is None:
        raise ConfigurationError(f"say what {name!r} is like: like='step-2x-large', or server= for an open engine")
    if not (opened := profile.open_rows(name)):
        raise ConfigurationError(
            f"the profile {profile.name!r} has no parameters of its own: say like=..., a model of the tables, or the "
            "server= of the engine behind it"
        )
    return opened


def refuse_built_in(name: str) -> None:
    """Check that a model to add does not have the name of a built-in one.

    Raises:
        ConfigurationError: it has.
    """
    if any(row.model == name for row in BUILT_IN):
        raise ConfigurationError(f"{name!r} is a built-in model and stays as documented: choose another name")


def add_rows(added: Iterable[Capability]) -> None:
    """Add rows that describe themselves, such as those of a local model.

    Raises:
        ConfigurationError: a model has the name of a built-in one.
    """
    for row in added:
        refuse_built_in(row.model)
        _table[row.model, row.operation] = row


def remove_rows(removed: Iterable[Capability]) -> None:
    """Remove rows, except those that have been replaced since."""
    for row in removed:
        if _table.get((row.model, row.operation)) is row:
            del _table[row.model, row.operation]


def _refuse_unknown(named: set[str], kept: list[Capability]) -> None:
    unknown = named - {name for row in kept for name in row.rules}
    if unknown:
        known = ", ".join(dict.fromkeys(name for row in kept for name in row.rules))
        raise ConfigurationError(f"{kept[0].model!r} has no parameter {', '.join(sorted(unknown))}; it has {known}")


def _changed(
    row: Capability,
    sizes: Sequence[str | Size] | None,
    size_order: Order | None,
    ranges: Mapping[str, tuple[float, float]],
    defaults: Mapping[str, object],
    without: Collection[str],
) -> dict[str, Rule]:
    rules = {name: rule for name, rule in row.rules.items() if name not in without}
    for name in ranges.keys() & rules.keys():
        rules[name] = _with_range(name, rules[name], *bounds(name, ranges[name]))
    size = rules.get("size")
    if isinstance(size, AnySize) and sizes is None:
        rules["size"] = replace(size, order=size_order or size.order)
    elif size is not None and (sizes is not None or (size_order is not None and isinstance(size, Sizes))):
        rules["size"] = _with_sizes(size, sizes, size_order)
    for name in defaults.keys() & rules.keys():
        rules[name] = _with_default(name, rules[name], defaults[name])
    return {name: replace(rule, source="registered") for name, rule in rules.items()}


def _with_range(name: str, rule: Rule, minimum: float, maximum: float) -> Rule:
    if not isinstance(rule, Text | Integer | Number):
        raise ConfigurationError(f"{name} is a {rule.kind} and has no range")
    whole = not isinstance(rule, Number)
    if not minimum <= maximum or (whole and not (type(minimum) is int and type(maximum) is int)):
        words = "whole numbers, " if whole else ""
        raise ConfigurationError(f"the range of {name} is {words}smallest first, not {(minimum, maximum)!r}")
    changed: Rule = replace(cast("Any", rule), minimum=minimum, maximum=maximum)
    return changed if rule.default is None or not changed.judge(rule.default) else replace(changed, default=None)


def _with_default(name: str, rule: Rule, default: object) -> Rule:
    if default is not None and rule.judge(default):
        raise ConfigurationError(f"{default!r} is no {name} of the model: {rule.allowed}")
    if isinstance(rule, AnySize) and (size := rule.pick(default)) is not None:
        return replace(rule, default=size.to_wire(rule.order), area=size.width * size.height)
    return replace(rule, default=default)


def _with_sizes(rule: Rule, sizes: Sequence[str | Size] | None, order: Order | None) -> Sizes:
    old = rule if isinstance(rule, Sizes) else Sizes(options=())
    order = order or old.order
    options = old.options if sizes is None else tuple(_size(value, order) for value in sizes)
    if not options:
        raise ConfigurationError("sizes is empty: name at least one, or say without=['size']")
    return replace(old, options=options, order=order, default=options[0].to_wire(order), note="")


def _size(value: str | Size, order: Order) -> Size:
    size = value if isinstance(value, Size) else Size.from_wire(value, order)
    if size is None or not size.possible:
        raise ConfigurationError(f"{value!r} is not a size: write it as '1024x768' or Size(width=1024, height=768)")
    return size
