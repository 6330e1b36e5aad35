"""Other texts for the bytes of a base64url text, as a decoder that is not strict takes them."""

from __future__ import annotations

import base64

_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def leniently(text: str) -> bytes:
    """What a decoder makes of a text that looks at nothing but the letters that it knows."""
    return base64.b64decode(text.rstrip("=").replace("-", "+").replace("_", "/") + "==")


def other_spellings(text: str) -> list[str]:
    """The texts besides `text`: other last bits, the letters of plain base64, padding, stray characters."""
    others = [text[:-1] + letter for letter in _ALPHABET]
    others += [text.replace("-", "+"), text.replace("_", "/"), text.replace("-", "+").replace("_", "/")]
    others += [
        text[:place] + plain + text[place + 1 :]
        for place, letter in enumerate(text)
        for known, plain in (("-", "+"), ("_", "/"))
        if letter == known
    ]
    others += [text + padding for padding in ("=", "==", "===", "====")]
    others += [text + "\n", text + " ", " " + text, text[:4] + "\n" + text[4:], text[:4] + "." + text[4:]]
    return [other for other in dict.fromkeys(others) if other != text and leniently(other) == leniently(text)]
