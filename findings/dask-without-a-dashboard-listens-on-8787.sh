#!/usr/bin/env bash
# What:     `LocalCluster(dashboard_address=None)`, documented as the way to have no dashboard, starts an HTTP server all the same, on
#           the fixed port 8787, and warns ("Port 8787 is already in use") where another cluster of the machine has it.
# Versions: distributed 2026.8.0 and dask 2026.8.0, threads only.
# Expected: no HTTP server, or one on any free port, so that two clusters on a machine start without a word.
# Seen:     the first listens on 8787, the second warns and takes another port; with "127.0.0.1:0" neither does.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check distributed==2026.8.0 dask==2026.8.0
timeout 120 venv/bin/python - <<'PYTHON'
import warnings

from distributed import LocalCluster


def ports(address):
    """Of two clusters at once: the ports of their HTTP servers, and the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings = {"processes": False, "n_workers": 1, "threads_per_worker": 1, "dashboard_address": address, "silence_logs": 50}
        with LocalCluster(**settings) as first, LocalCluster(**settings) as second:
            found = [cluster.scheduler.http_server.port for cluster in (first, second)]
    return found, [str(warning.message).split("\n")[0] for warning in caught if "8787" in str(warning.message)]


for address in (None, "127.0.0.1:0"):
    print(f"dashboard_address={address!r}: {ports(address)}")
found, said = ports(None)
assert found[0] == 8787 and said == ["Port 8787 is already in use."], (found, said)
found, said = ports("127.0.0.1:0")
assert 8787 not in found and not said, (found, said)
PYTHON
