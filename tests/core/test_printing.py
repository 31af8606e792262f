"""How public values print, and what can be done with `Money`."""

from __future__ import annotations

import decimal
import io
import pickle
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from stepfun_async import ConfigurationError, Image, ImagesResponse, Money, capabilities
from stepfun_async.batch import Records

CENT = Money(Decimal("0.01"), "USD")


def test_money_is_counted_exactly_in_any_decimal_context() -> None:
    with decimal.localcontext() as context:
        context.prec = 1
        context.traps[decimal.Inexact] = True
        assert str(CENT * 12345) == "123.45 USD"
        assert Money(Decimal("0.03"), "USD") == 3 * CENT + CENT - CENT
        assert sum([CENT * 199, CENT]) == CENT * 200
        assert CENT * Decimal("0.5") < CENT <= CENT < CENT * 2 >= CENT * 2 > CENT


@pytest.mark.parametrize("do", ["CENT * 0.5", "CENT * True", "CENT + 1", "1 + CENT", "CENT < 1", "CENT - None"])
def test_money_goes_with_money_and_exact_factors_only(do: str) -> None:
    with pytest.raises(TypeError, match="Money"):
        eval(do, {"CENT": CENT})


@pytest.mark.parametrize("do", ["CENT + other", "CENT - other", "CENT < other", "CENT >= other"])
def test_currencies_are_not_mixed(do: str) -> None:
    with pytest.raises(ValueError, match=r"0\.01 USD and 1 CNY are in different currencies: convert one of them"):
        eval(do, {"CENT": CENT, "other": Money(Decimal(1), "CNY")})


def test_results_print_what_is_known_without_their_bytes() -> None:
    image = Image(data=b"x" * 12345, format="png", width=1360, height=768, seed=7)
    assert repr(image) == "Image(data=<12,345 bytes>, format='png', width=1360, height=768, seed=7)"
    assert repr(Image(url="https://a.b/c")) == "Image(url='https://a.b/c')"
    assert repr(ImagesResponse((image,), id="a")).startswith("ImagesResponse(data=(Image(data=<12,345 bytes>,")
    assert "None" not in repr(ImagesResponse((image,)))


def test_rows_print_a_line_each_and_as_a_table_for_people() -> None:
    rows = capabilities("step-2x-large")
    assert repr(rows).splitlines()[1] == " <Capability step-2x-large text_to_image: 7 parameters, 0.02 USD or 0.1 CNY>,"
    assert str(rows).splitlines()[0] == "step-2x-large: text_to_image (price: 0.02 USD, 0.1 CNY)"
    assert str(rows) == "\n\n".join(map(str, rows))
    assert pickle.loads(pickle.dumps(rows)) == rows
    assert repr(rows[0]) == "<Capability step-2x-large text_to_image: 7 parameters, 0.02 USD or 0.1 CNY>"


def test_records_print_their_folder(tmp_path: Path) -> None:
    assert repr(Records(tmp_path)) == f"Records({str(tmp_path)!r})"


def test_show_opens_the_viewer(monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image as pillow
    from PIL import ImageShow

    shown: list[Any] = []

    def show(image: Any) -> bool:
        shown.append(image.size)
        return len(shown) == 1

    monkeypatch.setattr(ImageShow, "show", show)
    file = io.BytesIO()
    pillow.new("RGB", (8, 4)).save(file, "PNG")
    image = Image(data=file.getvalue(), format="png", width=8, height=4)
    image.show()
    assert shown == [(8, 4)]

    with pytest.raises(ConfigurationError, match="no viewer on this machine"):
        image.show()
