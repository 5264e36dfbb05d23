"""A place in a store's order, as text: ``/spoel/local/intake/main@0.42``. What ``X-Spoel-Position`` says."""

import re
from typing import NamedTuple, Self

from spoel_common.store.events import Cursor
from spoel_common.store.names import StoreName

_FORM = re.compile(r"(?P<source>/spoel/[a-z0-9-]+/[a-z]+/[a-z0-9-]+)@(?P<xid>[0-9]{1,20})\.(?P<position>[0-9]{1,20})")


class PositionUnreadable(ValueError):
    """A text that names no place in a store."""


class Position(NamedTuple):
    """A place in the order of one store.

    Attributes:
        source: the store, as in its events.
        cursor: the place.
    """

    source: str
    cursor: Cursor

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` wrote.

        Raises:
            PositionUnreadable: it is of another form.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            raise PositionUnreadable(f"{text[:100]!r} is not of the form /spoel/<site>/<service>/<store>@7.42")
        return cls(match["source"], Cursor(int(match["xid"]), int(match["position"])))

    @property
    def service(self) -> str:
        """The service whose store it is."""
        return StoreName.from_source(self.source).service

    def __str__(self) -> str:
        """Return it as text."""
        return f"{self.source}@{self.cursor.xid}.{self.cursor.position}"
