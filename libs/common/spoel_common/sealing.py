"""Sealing of free text and identity for one reader, with HPKE (RFC 9180).

Any service may seal with a public key; only the holder of the private key opens. The text is bound to the event in
which it stands: ``info`` of HPKE holds the event's id and type, so a sealed text that is moved to another event does
not open. Base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.
"""

import base64
import binascii
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

_SUITE = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


class CannotOpen(Exception):
    """The sealed text was changed, belongs to another event, or is for another key."""


class KeyPair(NamedTuple):
    """An X25519 key pair.

    Attributes:
        private_key: 32 raw bytes; never leaves its owner unwrapped.
        public_key: base64 of 32 raw bytes.
    """

    private_key: bytes
    public_key: str


def generate_key_pair() -> KeyPair:
    """Return a new X25519 key pair."""
    private_key = X25519PrivateKey.generate()
    public_bytes = private_key.public_key().public_bytes_raw()
    return KeyPair(private_key.private_bytes_raw(), base64.b64encode(public_bytes).decode())


def public_key_of(private_key: bytes) -> str:
    """Return the base64 public key that belongs to 32 raw private bytes."""
    public_bytes = X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
    return base64.b64encode(public_bytes).decode()


def can_seal_for(public_key: str) -> bool:
    """Tell whether something can be sealed for a key: it is base64 of 32 bytes that are a point of the curve's group.

    Whoever has to seal what already happened asks before it begins: then it is too late to refuse.
    """
    try:
        seal("", public_key, "", "")
    except ValueError:
        return False
    return True


def seal(text: str, public_key: str, event_id: str, event_type: str) -> str:
    """Seal ``text`` for the holder of ``public_key``, bound to one event; return base64.

    Raises:
        ValueError: nothing can be sealed for this key.
    """
    recipient = X25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
    sealed = _SUITE.encrypt(text.encode(), recipient, info=_context(event_id, event_type))
    return base64.b64encode(sealed).decode()


def open_sealed(sealed: str, private_key: bytes, event_id: str, event_type: str) -> str:
    """Open what ``seal`` made.

    Raises:
        CannotOpen: changed, moved to another event, or sealed for another key.
    """
    key = X25519PrivateKey.from_private_bytes(private_key)
    try:
        raw = _SUITE.decrypt(base64.b64decode(sealed, validate=True), key, info=_context(event_id, event_type))
    except (InvalidTag, ValueError, binascii.Error) as error:
        raise CannotOpen(f"the sealed text of event {event_id} ({event_type}) does not open") from error
    return raw.decode()


def _context(event_id: str, event_type: str) -> bytes:
    return b"spoel/sealed/1\x00" + event_id.encode() + b"\x00" + event_type.encode()
