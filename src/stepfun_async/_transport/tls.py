"""TLS of a client, from bytes to bytes: without sockets and event loops.

The layers of asyncio, anyio and trio hide what lies in the socket below them: what the server said before it closed
the connection is lost with it. Here all that was received is decrypted, whatever became of the connection since.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator

_RECORD = 16 * 1024
"""The maximum bytes of a record: more is never read at once."""


class Tls:
    """The TLS layer of one connection.

    Attributes:
        ssl_object: what the `ssl` module says of it.
        established: whether the handshake is over.
        ended: whether the other side has said that nothing more comes.

    Args:
        context: whom to trust.
        host: who has to be at the other end.
        outer: the TLS to a proxy, inside of which this one is spoken.
    """

    def __init__(self, context: ssl.SSLContext, host: str | None, outer: Tls | None = None) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._outer = outer
        self.ssl_object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
        self.established = False
        self.ended = False
        self._shake()

    def decrypt(self, data: bytes) -> Iterator[bytes]:
        """Yield the plaintext in `data`, piece by piece, and continue an unfinished handshake.

        Raises:
            ssl.SSLError: it cannot be decrypted, or the other side is not trusted.
        """
        for each in (data,) if self._outer is None else self._outer.decrypt(data):
            self._incoming.write(each)
            if not self.established:
                self._shake()
            if self.established:
                yield from self._read()

    def encrypt(self, text: bytes | memoryview) -> bytes:
        """Encrypt `text`. Return it after the other records to be sent."""
        if text:
            self.ssl_object.write(text)
        return self.pending()

    def pending(self) -> bytes:
        """Return the TLS records to be sent."""
        sent = self._outgoing.read()
        return sent if self._outer is None else self._outer.encrypt(sent)

    def _shake(self) -> None:
        try:
            self.ssl_object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True

    def _read(self) -> Iterator[bytes]:
        try:
            while text := self.ssl_object.read(_RECORD):
                yield text
        except ssl.SSLWantReadError:
            return
        self.ended = True
