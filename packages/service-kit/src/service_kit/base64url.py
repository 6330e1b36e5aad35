"""Bytes as text that goes into an address: base64url without padding (RFC 4648, 5), in one written form.

Decoders take more than that: `+` and `/`, padding, any last bits that no byte needs, some of them stray characters.
Where a text is signed, compared or kept, each such spelling would be another text for the same bytes.
"""

from __future__ import annotations

import base64


def written(raw: bytes) -> str:
    """Give the text of these bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def read(text: str) -> bytes:
    """Give the bytes of a text. Raises ValueError for every text that `written` does not give."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if written(raw) != text:
        raise ValueError("not in the form in which it is written")
    return raw
