"""The citizen service number (burgerservicenummer, BSN) and its check, the *elfproef*. Pure.

Source: Besluit burgerservicenummer: nine digits; the sum of the digits weighted 9, 8, 7, 6, 5, 4, 3, 2 and -1 is a
multiple of eleven. Numbers of eight digits are the same with a leading zero.
"""

from typing import ClassVar, NewType

from spoel_common.errors import SpoelError

Bsn = NewType("Bsn", str)
"""Nine digits that passed the check."""

_DIGITS = 9
_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)
_ELEVEN = 11


class BsnInvalid(SpoelError):
    """The number is not a BSN. The message never repeats it."""

    slug: ClassVar[str] = "bsn-invalid"
    status = 422
    title: ClassVar[str] = "Not a valid BSN"


def parse_bsn(text: str) -> Bsn:
    """Return the number in nine digits.

    Raises:
        BsnInvalid: not eight or nine digits, all zeros, or the check digit does not fit.
    """
    digits = text.zfill(_DIGITS) if len(text) == _DIGITS - 1 else text
    if len(digits) != _DIGITS or not (digits.isascii() and digits.isdigit()):
        raise BsnInvalid("A BSN has nine digits (or eight, without the leading zero). Read it again from the document.")
    total = sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, digits, strict=True))
    if not int(digits) or total % _ELEVEN:
        raise BsnInvalid(
            "This BSN does not pass the check (elfproef): a digit is wrong or two are swapped. "
            "Read it again from the document."
        )
    return Bsn(digits)
