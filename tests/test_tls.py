"""TLS between bytes and bytes, against the standard library's other end."""

from __future__ import annotations

import ssl
from contextlib import suppress

import pytest
import trustme

from stepfun_async._transport.tls import Tls

TEXT = bytes(range(256)) * 400


class OtherEnd:
    """The server's end of one connection."""

    def __init__(self, authority: trustme.CA, host: str) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(host).configure_cert(context)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=True)

    def receive(self, data: bytes) -> bytes:
        """The text in `data`."""
        text = b""
        self.incoming.write(data)
        with suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
            while piece := self.tls.read(65536):
                text += piece
        return text

    def send(self, text: bytes = b"") -> bytes:
        """What is to be sent."""
        if text:
            self.tls.write(text)
        return self.outgoing.read()


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def shake(tls: Tls, end: OtherEnd) -> None:
    while not tls.established:
        end.receive(tls.pending())
        assert list(tls.decrypt(end.send())) == []
    end.receive(tls.pending())


def test_text_arrives_in_both_directions(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    tls, end = Tls(trusting, "far.test"), OtherEnd(authority, "far.test")
    shake(tls, end)
    assert end.receive(tls.encrypt(TEXT)) == TEXT
    data = end.send(TEXT)
    assert b"".join(text for byte in data for text in tls.decrypt(bytes([byte]))) == TEXT
    assert not tls.ended


def test_what_came_before_the_end_is_given_before_it(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    tls, end = Tls(trusting, "far.test"), OtherEnd(authority, "far.test")
    shake(tls, end)
    data = end.send(b"no")
    with suppress(ssl.SSLWantReadError):
        end.tls.unwrap()
    assert list(tls.decrypt(data + end.send())) == [b"no"]
    assert tls.ended


def test_what_came_before_it_broke_is_given_before_that_is_raised(
    authority: trustme.CA, trusting: ssl.SSLContext
) -> None:
    tls, end = Tls(trusting, "far.test"), OtherEnd(authority, "far.test")
    shake(tls, end)
    texts = tls.decrypt(end.send(b"no") + b"<html></html>")
    assert next(texts) == b"no"
    with pytest.raises(ssl.SSLError):
        next(texts)


def test_tls_is_spoken_inside_of_tls(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    """As to a proxy that speaks TLS itself."""
    near, proxy = Tls(trusting, "proxy.test"), OtherEnd(authority, "proxy.test")
    shake(near, proxy)
    far, end = Tls(trusting, "far.test", near), OtherEnd(authority, "far.test")
    while not far.established:
        end.receive(proxy.receive(far.pending()))
        assert list(far.decrypt(proxy.send(end.send()))) == []
    end.receive(proxy.receive(far.pending()))
    assert end.receive(proxy.receive(far.encrypt(TEXT))) == TEXT
    assert b"".join(far.decrypt(proxy.send(end.send(TEXT)))) == TEXT


def test_another_host_is_not_trusted(authority: trustme.CA, trusting: ssl.SSLContext) -> None:
    tls, end = Tls(trusting, "far.test"), OtherEnd(authority, "other.test")
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake(tls, end)
    with pytest.raises(ssl.SSLError, match=r"(?i)bad.certificate"):
        end.receive(tls.pending())  # which says why
