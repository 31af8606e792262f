"""The server profiles by name: those of the table, and those that are registered."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import get_args, overload

from .capabilities import Operation
from .errors import ConfigurationError
from .profile_table import ANY_PARAMETER, BUILT_IN_SERVERS
from .profiles import Route, Seeding, Server, make_route
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
from .rules import Choice, Integer, closest
from .text import shown

DEFAULT_SERVER = next(row for row in BUILT_IN_SERVERS if row.name == "openai")

_servers: dict[str, Server] = {row.name: row for row in BUILT_IN_SERVERS}


def find_server(name: object) -> Server:
    """Return the profile called `name`; a profile is returned as it is.

    Raises:
        ConfigurationError: there is no profile of this name.
    """
    if isinstance(name, Server):
        return name
    found = _servers.get(name) if type(name) is str else None
    if found is None:
        near = closest(name, tuple(_servers))
        hint = f". Did you mean {near!r}?" if near else ""
        raise ConfigurationError(
            f"no server profile {shown(name)}; known: {', '.join(_servers)}; register_server() adds one{hint}"
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
    known = {name for route in base.routes.values() for name in route.rules} | ANY_PARAMETER.keys()
    if unknown := sorted(named - known):
        raise ConfigurationError(f"no parameter {', '.join(unknown)}; known: {', '.join(sorted(known))}")


def _changed(
    route: Route,
    wire_names: Mapping[str, str],
    without: Collection[str],
    formats: Collection[str] | None,
    seeding: Seeding | None,
) -> Route:
    added = {name: rule for name, rule in ANY_PARAMETER.items() if name in wire_names and route.rules}
    rules = {name: rule for name, rule in {**added, **route.rules}.items() if name not in without}
    if formats is not None and "response_format" in rules:
        rules["response_format"] = Choice(options=tuple(formats), source="server")
    if seeding is not None and isinstance(seed := rules.get("seed"), Integer):
        rules["seed"] = replace(seed, drawn=seeding == "fixed", note="")
    renamed = {**route.renamed, **{name: wire for name, wire in wire_names.items() if name in rules}}
    return make_route(route.endpoint, rules, renamed, route.tag)
