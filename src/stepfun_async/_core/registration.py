"""Checks of what `register_model` and `register_server` are given, before a row or a profile is made of it.

An inconsistent row would send wrong requests, which may be billed: two parameters under one name, or a
parameter in the model's place.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import cast, get_args
from urllib.parse import urlsplit

from .capabilities import ENDPOINTS, Region
from .errors import ConfigurationError
from .money import Money
from .rules import Rule, closest
from .text import shown


def check_name(name: object, of: str) -> None:
    """Refuse a name that cannot be typed, sent or printed."""
    if not isinstance(name, str) or not name.isprintable() or not name or name != name.strip():
        raise ConfigurationError(
            f"the name of {of} is text that can be printed, without spaces around it: {shown(name)}"
        )


def check_names(argument: str, given: object, known: Iterable[str] = ()) -> None:
    """Refuse anything but a collection of text, such as text itself; and an unknown name, if all names are known."""
    if isinstance(given, str) or not isinstance(given, Collection):
        value = f"[{shown(given)}]" if isinstance(given, str) else f"a list, not {shown(given)}"
        raise ConfigurationError(f"{argument} is a collection of names: write {value}")
    options = tuple(known)
    for name in cast("Collection[object]", given):
        if not isinstance(name, str) or (options and name not in options):
            raise ConfigurationError(f"{argument} has {shown(name)}; allowed: {_listed(options)}{_hint(name, options)}")


def check_operations(given: object) -> None:
    """Refuse anything but a collection of operations."""
    if given is not None:
        check_names("operations", given, ENDPOINTS)


def check_truth(argument: str, given: object) -> None:
    """Refuse anything but true, false or an absent value."""
    if given is not None and not isinstance(given, bool):
        raise ConfigurationError(f"{argument} is True, False or None, not {shown(given)}")


def check_sizes(given: object) -> None:
    """Refuse anything but a list, such as a single size."""
    if given is not None and not _is_list(given):
        raise ConfigurationError(f"sizes is a list of sizes, such as ['512x512'], not {shown(given)}")


def bounds(name: str, given: object) -> tuple[float, float]:
    """Return the smallest and the largest value of a range; refuse anything else."""
    found = tuple(cast("Sequence[object]", given)) if _is_list(given) else ()
    if [type(bound) in (int, float) for bound in found] != [True, True]:
        raise ConfigurationError(f"the range of {name} is its smallest and largest, as in (1, 8), not {shown(given)}")
    return cast("tuple[float, float]", found)


def _is_list(given: object) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str)


def check_word(argument: str, given: object, options: Collection[str]) -> None:
    """Refuse anything but one of the words."""
    if not isinstance(given, str) or given not in options:
        raise ConfigurationError(
            f"{argument} is {shown(given)}; allowed: {_listed(options)}{_hint(given, tuple(options))}"
        )


def check_mapping(argument: str, given: object, example: str) -> None:
    """Refuse anything but a mapping."""
    if given is not None and not isinstance(given, Mapping):
        raise ConfigurationError(f"{argument} is a mapping, such as {example}, not {shown(given)}")


def check_address(address: object) -> None:
    """Refuse anything but a base URL; empty text is not one."""
    if address != "" and not (isinstance(address, str) and _is_address(address)):
        raise ConfigurationError("address is no base URL: write https://host/v1")


def check_prices(prices: Mapping[Region, Money] | None) -> None:
    """Refuse prices that are not `Money`, or of an unknown region."""
    check_mapping("prices", prices, "{'china': Money(Decimal('0.02'), 'CNY')}")
    for region, price in cast("Mapping[object, object]", prices or {}).items():
        check_word("a region of prices", region, get_args(Region))
        if not isinstance(price, Money):
            raise ConfigurationError(
                f"the price of {region} is {shown(price)}: write Money(Decimal('0.02'), 'CNY'), with its currency"
            )


def check_wire_names(owner: str, rules: Mapping[str, Rule], renamed: Mapping[str, str]) -> None:
    """Refuse two parameters with the same name on the wire, since the server would get only one."""
    taken = {"model": "the model"}
    names = cast("Mapping[str, object]", renamed)
    for name in rules:
        wire = names.get(name, name)
        if not isinstance(wire, str) or not wire.strip():
            raise ConfigurationError(f"wire_names has {shown(wire)} for {name}: give the name on the wire as text")
        if wire in taken:
            raise ConfigurationError(
                f"{owner!r} would send {name} and {taken[wire]} under one name, {wire!r}: "
                "give each its own name in wire_names, or leave one out with without="
            )
        taken[wire] = name


def check_without(operation: str, rules: Mapping[str, Rule], without: Collection[str]) -> None:
    """Refuse to leave out a parameter that every request has."""
    if missed := sorted(name for name in without if name in rules and rules[name].required):
        raise ConfigurationError(
            f"every {operation} has {', '.join(missed)}, which without= cannot leave out: "
            "leave the operation out with operations="
        )


def _is_address(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _hint(given: object, options: tuple[str, ...]) -> str:
    meant = closest(given, options)
    return f". Did you mean {meant!r}?" if meant else ""


def _listed(options: Collection[str]) -> str:
    return ", ".join(options) or "names, as text"
