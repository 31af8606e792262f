"""The proxy that the environment names for a server."""

from __future__ import annotations
