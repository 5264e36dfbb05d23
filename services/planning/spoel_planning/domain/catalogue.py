"""The protocol catalogue and the clinic's cleared list (PL-04, PL-07, HZ-13)."""

from collections.abc import Iterable
from typing import NamedTuple

from spoel_planning.domain.pattern import TIME_TOLERANCE_S, is_patterned, pulses_per_session, rate_hz
from spoel_planning.domain.refusals.prescribing import OutsideProtocol, ProtocolUnknown
from spoel_planning.domain.rules import ClearedRow, Protocol
from spoel_planning.events.orders import Pattern, Site


class Dose(NamedTuple):
    """What is compared with the cleared list.

    Attributes:
        percent_rmt: the highest intensity that the operator may set, in percent of the threshold.
    """

    protocol: Protocol
    site: Site
    pattern: Pattern
    percent_rmt: float


def find_protocol(protocols: Iterable[Protocol], protocol_id: str, version: int | None = None) -> Protocol:
    """Return this version of a protocol, or its newest.

    Raises:
        ProtocolUnknown: no such protocol or version.
    """
    known = tuple(protocols)
    found = [each for each in known if each.id == protocol_id and version in (None, each.version)]
    if not found:
        names = ", ".join(sorted(f"{each.id} v{each.version}" for each in known))
        wanted = protocol_id if version is None else f"{protocol_id} v{version}"
        raise ProtocolUnknown(f"There is no protocol {wanted}. The catalogue has {names}.", field="protocol_id")
    return max(found, key=lambda each: each.version)


def check_variant(pattern: Pattern, protocol: Protocol) -> None:
    """Refuse a pattern that is another protocol: site and rate are one row (HZ-03), and so is the day's maximum.

    Trains may be longer, shorter, more, fewer, or farther apart: those are graded.

    Raises:
        OutsideProtocol: another rate, bursts for single pulses or the reverse, or more pulses than a day may have.
    """
    own = protocol.pattern
    if is_patterned(pattern) != is_patterned(own) or not _same_time(pattern.burst_interval_s, own.burst_interval_s):
        kind = "bursts" if is_patterned(own) else "single pulses"
        raise OutsideProtocol(
            f"{protocol.id} has {kind} at {rate_hz(own):g} Hz; another rate is another protocol. Choose that one, or "
            f"give burst_interval_s {own.burst_interval_s:g}.",
            field="burst_interval_s",
        )
    pulses = pulses_per_session(pattern) + sum(pulses_per_session(block.pattern) for block in protocol.further_block)
    if pulses > protocol.max_pulses_per_day:
        raise OutsideProtocol(
            f"A session would have {pulses} pulses; {protocol.id} allows {protocol.max_pulses_per_day} in a day. Give "
            "fewer or shorter trains.",
            field="trains",
        )


def protocol_doses(protocol: Protocol) -> list[Dose]:
    """Return the doses of a protocol's blocks as its file has them, each at the top of its band."""
    blocks = (protocol, *protocol.further_block)
    return [Dose(protocol, block.site, block.pattern, block.ceiling_percent_rmt) for block in blocks]


def cleared_row(dose: Dose, rows: Iterable[ClearedRow]) -> ClearedRow | None:
    """Return the row that clears this dose, or None.

    A row clears what it says and nothing beside it: equal protocol, site, bursts and intervals inside a train; at most
    its intensity, trains and pulses; at least its pauses.
    """
    return next((row for row in rows if _clears(row, dose)), None)


def _clears(row: ClearedRow, dose: Dose) -> bool:
    return (
        (row.protocol_id, row.protocol_version, row.site) == (dose.protocol.id, dose.protocol.version, dose.site)
        and _has_bursts_of(row, dose.pattern)
        and dose.pattern.trains <= row.max_trains
        and dose.pattern.train_interval_s >= row.min_train_interval_s - TIME_TOLERANCE_S
        and dose.percent_rmt <= row.max_percent_rmt
        and pulses_per_session(dose.pattern) <= row.max_pulses_per_session
        and dose.protocol.max_pulses_per_day <= row.max_pulses_per_day
        and dose.protocol.min_pause_between_sessions_s >= row.min_pause_between_sessions_s
    )


def _has_bursts_of(row: ClearedRow, pattern: Pattern) -> bool:
    return (
        row.pulses_per_burst == pattern.pulses_per_burst
        and row.bursts_per_train == pattern.bursts_per_train
        and _same_time(row.pulse_interval_s, pattern.pulse_interval_s)
        and _same_time(row.burst_interval_s, pattern.burst_interval_s)
    )


def _same_time(one_s: float | None, other_s: float | None) -> bool:
    if one_s is None or other_s is None:
        return one_s is other_s
    return abs(one_s - other_s) < TIME_TOLERANCE_S
