"""The socket that a server of this package listens on, and its URL."""

from __future__ import annotations

import socket

from stepfun_async._core.errors import ConfigurationError


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on `host` and `port`.

    Raises:
        ConfigurationError: the address is not one of this machine, or the port is in use.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error}; choose another host or port") from error


def in_url(host: str) -> str:
    """Return `host` as URLs write it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host
