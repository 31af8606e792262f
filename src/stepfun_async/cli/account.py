"""`account`: the account behind the key."""

from __future__ import annotations

from stepfun_async import Client

from .console import echo, echo_json, spinner
from .options import AllowHttp, AsJson, BaseUrl, ServerOption, Timeout


def account(
    timeout: Timeout = None,
    base_url: BaseUrl = None,
    server: ServerOption = None,
    allow_http: AllowHttp = False,
    as_json: AsJson = False,
) -> None:
    """Show the account behind the key: its type and its balance."""
    with Client(base_url=base_url, server=server, allow_http=allow_http) as client, spinner("fetching the account"):
        found = client.account.retrieve(timeout=timeout)
    balances = {"balance": found.balance, "cash": found.total_cash_balance, "voucher": found.total_voucher_balance}
    if as_json:
        echo_json({"type": found.type, **balances})
    else:
        amounts = (f"{name + ':':<9}{amount:g}" for name, amount in balances.items())
        echo(f"type:    {found.type or 'not said'}", *amounts)
