"""`Server`: the profile of one kind of server that speaks StepFun's image protocol, or a similar one.

A profile adapts a row of the model table to its server before a call is made: names, sizes, formats and operations.
The call itself only has to send the profile's headers, and to draw a seed if the server would always use the same
one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal

from .capabilities import Capability, Endpoint, Operation
from .rules import Choice, Integer, Rule
from .size_rules import AnySize, Sizes

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
        verbatim: whether the row of a model holds as it is, as for StepFun and for gateways, which forward everything.
        native: whether it takes every model's parameters under StepFun's own names.
        seeding: what it does without a seed.
        headers: headers to send with each request.
        needs_key: whether it usually wants an API key.
        address: its base URL, or an example.
        has_fixed_address: whether `address` is its base URL, which a client takes if none is given.
        returns: what responses contain besides the image, in words.
        errors: the form of its error responses, in words.
        notes: other facts, a sentence each.
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
        """Return the rows of a model of which only the server is known."""
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
    """Return a profile from a pickle."""
    facts["routes"] = MappingProxyType({operation: make_route(**route) for operation, route in routes.items()})
    facts["headers"] = MappingProxyType(facts["headers"])
    return Server(**facts)


def make_route(
    endpoint: Endpoint, rules: Mapping[str, Rule], renamed: Mapping[str, str] | None = None, tag: str = ""
) -> Route:
    """Return a route that cannot be changed."""
    return Route(
        endpoint=endpoint, rules=MappingProxyType(dict(rules)), renamed=MappingProxyType(dict(renamed or {})), tag=tag
    )
