#!/usr/bin/env bash
# What:     A pydantic model with `ConfigDict(defer_build=True)` as the body of a FastAPI endpoint makes pydantic warn, at the first
#           call, that an `alias` given to `Field()` has no effect. Nobody gave one: it is the name of the endpoint's parameter, which
#           FastAPI attaches itself. Where warnings are errors, the call fails.
# Versions: fastapi 0.165.0 and pydantic 2.14.4 (with starlette 1.10.0 and httpx 0.28.1 for the test client).
# Expected: no warning, as for the same model without `defer_build`.
# Seen:     one UnsupportedFieldAttributeWarning that names the parameter; none without `defer_build`. The answers are the same.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check fastapi==0.165.0 pydantic==2.14.4 starlette==1.10.0 httpx==0.28.1
timeout 120 venv/bin/python - <<'PYTHON'
import warnings

from fastapi import FastAPI
from fastapi.testclient import TestClient
from pydantic import BaseModel, ConfigDict


def first_call(deferred):
    """What the first call of an endpoint answers, and what pydantic warns of meanwhile."""

    class Order(BaseModel):
        model_config = ConfigDict(defer_build=deferred)
        number: int

    app = FastAPI()

    @app.post("/")
    def take(the_order: Order) -> int:
        return the_order.number

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        answer = TestClient(app, raise_server_exceptions=False).post("/", json={"number": 7})
    said = [f"{each.category.__name__}: {str(each.message)[:52]}" for each in caught if "alias" in str(each.message)]
    return answer.status_code, answer.json(), said


for deferred in (True, False):
    print(f"defer_build={deferred}: {first_call(deferred)}")
status, answer, said = first_call(True)
assert (status, answer) == (200, 7)
assert said == ["UnsupportedFieldAttributeWarning: The 'alias' attribute with value 'the_order' was pro"], said
assert first_call(False) == (200, 7, [])
PYTHON
