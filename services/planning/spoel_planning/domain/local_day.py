"""Local days: a day is a day in the clinic's time zone, also in the nights of the time change (HZ-22)."""

from datetime import date, datetime
from zoneinfo import ZoneInfo


def local_day(moment: datetime, zone: ZoneInfo) -> date:
    """Return the day on which an aware ``moment`` falls in ``zone``."""
    return moment.astimezone(zone).date()
