"""How far a room node reaches beyond its own rooms, and what it knows of a patient's bookings in other rooms. Pure."""

from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, BaseModel, ConfigDict

from spoel_stimulation.events.words import SessionKind

LOCAL_ZONE = ZoneInfo("Europe/Amsterdam")


class Reach(BaseModel):
    """What a node has of the world outside at this moment.

    Attributes:
        connected: NATS is connected; for people to read, nothing rests on it: a link may be dead and not know it.
        aside: needed feeds of which events are aside or which are stopped: something is known to be missing.
        own_rooms: rooms of this node, about whose bookings its own journal says everything.
        nodes: store of another node → wall seconds since it was last fully known.
    """

    model_config = ConfigDict(frozen=True)

    connected: bool = True
    aside: tuple[str, ...] = ()
    own_rooms: frozenset[str] = frozenset()
    nodes: dict[str, float] = {}


class OtherBooking(BaseModel):
    """Another booking of the patient in a room of another node, as long as that room holds its lease.

    Attributes:
        cancelled: planning took it back.
        released: the room said that it will not open it any more.
        closed: its session is over.
        age_s: wall seconds since that room's node was last fully known.
    """

    model_config = ConfigDict(frozen=True)

    session_id: str
    room_id: str
    kind: SessionKind
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    cancelled: bool
    released: bool
    closed: bool
    age_s: float

    def settled(self, max_age_s: float) -> bool:
        """Tell whether it is known that this booking is not being used in its room without our knowledge.

        A booking that was taken back is settled by its room's word alone, however fresh the rest is: the room may have
        opened it before it heard of that. One that stands is settled while its room is heard.
        """
        if self.closed or self.released:
            return True
        return not self.cancelled and self.age_s <= max_age_s


def local_day_ends_at(moment: datetime) -> datetime:
    """Return the end of the local day of ``moment``, also in a night in which the clock is changed."""
    day = moment.astimezone(LOCAL_ZONE).date()
    return datetime.combine(day + timedelta(days=1), time.min, LOCAL_ZONE)


def lease_ends_at(starts_at: datetime, ends_at: datetime) -> datetime:
    """Return until when a booking is its room's alone: its local day, on which alone it can be opened."""
    return max(local_day_ends_at(starts_at), ends_at)
