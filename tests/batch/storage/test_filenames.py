"""Names of pictures stay in the folder and tell pictures apart."""

from __future__ import annotations

import re
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepfun_async import ConfigurationError
from stepfun_async.batch.storage.filenames import DEFAULT_TEMPLATE, RESERVED_NAMES, check_template, safe_name, stem_of


@pytest.mark.parametrize(
    "template", [DEFAULT_TEMPLATE, "{id}", "{model}/{line}", "pictures/{shard}/{id}-{fingerprint}", "{line:04}-{slug}"]
)
def test_templates_that_can_name_pictures(template: str) -> None:
    assert check_template(template) == template


@pytest.mark.parametrize(
    "template",
    [
        *(
            "",
            None,
            "{prompt}",
            "{id!r}",
            "{id:>9}",
            "{line:9}",
            "{line:099}",
            "{line:{id}}",
            "{slug}",
            "{",
            "{0}",
            "{shard}",
            "{fingerprint}",
            "../{id}",
            "a\\{id}",
        ),
        *("{id}/", "/{id}", "a//{id}", "./{id}", "{id}/..", "a./{id}", " a/{id}"),
        *("a\0{id}", "a\x1b{id}", "a\u202e{id}", "a\ud800{id}"),
        *("journal.sqlite3/{id}", "Journal.Lock/{id}", "sending/{id}", "thumbnails/{id}", "con/{id}", "nul.d/{id}"),
    ],
)
def test_templates_that_cannot(template: object) -> None:
    with pytest.raises(ConfigurationError, match="cannot name images"):
        check_template(template)


@given(st.text(min_size=1, max_size=200) | st.text("./ \\:~ab", min_size=1, max_size=9))
def test_no_id_leads_out_of_the_folder(id: str) -> None:
    name = safe_name(id)
    assert name
    assert PurePosixPath(name).parts == (name,)
    assert PureWindowsPath(name).parts == (name,)
    assert name not in (".", "..")
    assert not name.startswith((".", " "))
    assert not name.endswith((".", " "))
    assert len(name.encode("utf-8", "replace")) < 150


@given(st.text(max_size=20), st.text(max_size=20))
def test_two_ids_have_two_names(one: str, other: str) -> None:
    assert (safe_name(one) == safe_name(other)) == (one == other)


def test_names_are_spread_by_two_digits() -> None:
    fingerprint = "ab" + "0" * 62
    assert (
        stem_of("{shard}/{id}", id=fingerprint, fingerprint=fingerprint, line=1, model="m", prompt="A fox")
        == f"ab/{fingerprint}"
    )
    twin = stem_of("{shard}/{id}", id=f"{fingerprint}-2", fingerprint=fingerprint, line=2, model="m", prompt="A fox")
    assert twin == f"ab/{fingerprint}-2"
    assert stem_of("{shard}/{id}", id="cat", fingerprint=fingerprint, line=1, model="m", prompt="A fox") == "77/cat"


DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9\u00b9\u00b2\u00b3]) *(\..*)?", re.IGNORECASE)
"""What Windows takes for a device."""


@pytest.mark.parametrize("name", ["con", "NUL", "com1", "aux.png", "con.txt", "con .a", "lpt\u00b9.x.y", "CONIN$"])
def test_names_that_a_system_keeps_for_itself_are_changed(name: str) -> None:
    assert DEVICE.fullmatch(name)
    assert not DEVICE.fullmatch(safe_name(name))
    assert safe_name(name) != safe_name(name.swapcase()) or name == name.swapcase()


@pytest.mark.parametrize("name", ["journal.sqlite3", "JOURNAL.lock", "thumbnails", "report.html"])
def test_names_of_a_batchs_own_files_are_changed(name: str) -> None:
    assert safe_name(name).lower() not in RESERVED_NAMES
    assert (
        stem_of("{id}/{line}", id=name, fingerprint="ab", line=1, model="m", prompt="A fox") == f"{safe_name(name)}/1"
    )


@given(
    st.lists(
        st.sampled_from(
            ["{id}", "{line}", "{line:04}", "{slug}", "{model}", "{fingerprint}", "c", "co", "/", "-", "."]
        ),
        min_size=1,
        max_size=8,
    ),
    st.text("con.1x ", min_size=1, max_size=9) | st.text(min_size=1, max_size=200),
)
def test_whatever_a_template_makes_is_a_name(parts: list[str], id: str) -> None:
    template = "".join(["{id}", *parts])
    try:
        check_template(template)
    except ConfigurationError:
        return
    name = stem_of(template, id=id, fingerprint="ab" * 32, line=1, model="n", prompt="A fox")
    for part in name.split("/"):
        assert part
        assert not DEVICE.fullmatch(part)
        assert len(part.encode("utf-8", "surrogatepass")) <= 200
    assert name.split("/")[0].lower() not in RESERVED_NAMES
