"""Whether what a person said is what stands in the booking (ST-10, HZ-01, HZ-03). Pure."""

import unicodedata
from datetime import date

from pydantic import BaseModel, ConfigDict

from spoel_stimulation.commands import ConfirmIdentity
from spoel_stimulation.domain.refusals import IdentityMismatch, SiteMismatch
from spoel_stimulation.orders import MeasurementOrder, Site, TreatmentOrder


class IdentityStrip(BaseModel):
    """Who is booked: opened with the room's key, held in memory only (INV-6)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    given_name: str
    family_name: str
    birth_date: date


def _folded(name: str) -> str:
    """Return the letters and digits of a name, without case and diacritics; letters with a stroke count as plain."""
    decomposed = unicodedata.normalize("NFKD", name.casefold()).casefold()
    return "".join(mark for mark in decomposed if mark.isalnum()).translate(_STROKES)


def _same(said: str, booked: str) -> bool:
    """Tell whether two names are one; a name of which nothing is left to compare is no other's."""
    return _folded(said) == _folded(booked) != ""


_STROKES = str.maketrans(
    {
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "ø": "o",
        "đ": "d",
        "ł": "l",
        "ħ": "h",
        "ŧ": "t",
        "æ": "ae",
        "œ": "oe",
        "ð": "d",
        "þ": "th",
    }
)


def check_identity(said: ConfirmIdentity, strip: IdentityStrip) -> None:
    """Refuse another's identity. The refusal names the fields that differ, never what stands in the strip.

    Raises:
        IdentityMismatch: at least one of name and birth date differs.
    """
    compared = {
        "given_name": _same(said.given_name, strip.given_name),
        "family_name": _same(said.family_name, strip.family_name),
        "birth_date": said.birth_date == strip.birth_date,
    }
    differing = [field for field, same in compared.items() if not same]
    if differing:
        raise IdentityMismatch(
            f"{', '.join(differing)}: not as in this booking. Ask again; if it stays so, this is not the booked "
            "patient: do not treat.",
            fields=differing,
        )


def check_placed(side_or_site: str, site: Site) -> None:
    """Refuse another side or site than the one that is to be stimulated (HZ-03).

    Raises:
        SiteMismatch: it is another.
    """
    if side_or_site not in (site, site.partition("-")[0]):
        raise SiteMismatch(
            "side_or_site is not that of the order. Look at the order and at the coil, and choose again."
        )


def check_site(said: ConfirmIdentity, order: TreatmentOrder | MeasurementOrder) -> None:
    """Refuse another side, site or protocol than the order's.

    Raises:
        SiteMismatch: one of them differs.
    """
    check_placed(said.side_or_site, order.site)
    wanted = order.protocol_id if isinstance(order, TreatmentOrder) else None
    if said.protocol_id != wanted:
        raise SiteMismatch("protocol_id is not that of the order. Look at the order and choose again.")
