"""How one start command ended, from the device's word alone: it counts no pulses. Pure."""

from spoel_common.clock import NS_PER_S
from spoel_stimulation.devices.adapter import TrainResult, TrainSettings
from spoel_stimulation.devices.magstim.view import Heard

_TOO_EARLY_S = 0.1


def train_result(settings: TrainSettings, heard: Heard, fired_utc_ns: int, problem: str = "") -> TrainResult:
    """Return the outcome of a start command that the device did not refuse.

    *Complete* needs all of: the start was acknowledged, the device then showed that it was busy, stayed armed, and was
    ready again, not before the last pulse was due. Everything else is *unknown*: a device without a counter cannot say
    how many pulses it gave of a train that was broken off.

    Args:
        settings: of the train.
        heard: what the device showed.
        fired_utc_ns: clock time at which the start was acknowledged.
        problem: why following it came to an end; empty where the device showed an end.
    """
    reasons = [problem, *heard.unasked]
    if heard.stopped:
        reasons.append("the device was disarmed before it was ready again")
    ended_ns = _ended_utc_ns(settings, heard, fired_utc_ns)
    if ended_ns is not None and ended_ns < fired_utc_ns + round((settings.duration_s - _TOO_EARLY_S) * NS_PER_S):
        reasons.append("the device ended it early")
    reason = "; ".join(dict.fromkeys(text for text in reasons if text))
    known = not reason and ended_ns is not None
    return TrainResult(
        outcome="complete" if known else "unknown",
        pulses=settings.pulses if known else None,
        counters_before=None,
        counters_after=None,
        evidence="status" if known else None,
        reason=reason or ("" if known else "the device showed no end"),
        first_onset_utc_ns=fired_utc_ns if heard.begun else None,
        ended_utc_ns=ended_ns,
    )


def _ended_utc_ns(settings: TrainSettings, heard: Heard, fired_utc_ns: int) -> int | None:
    """Return when the last pulse was over; None where not known. A single pulse or pair shows no end of its own."""
    if heard.ready_utc_ns is None or heard.quiet_utc_ns is None:
        return None
    if settings.stimuli == 1:
        return min(heard.ready_utc_ns, max(heard.quiet_utc_ns, fired_utc_ns + round(settings.duration_s * NS_PER_S)))
    return heard.quiet_utc_ns if heard.ran else heard.ready_utc_ns


def refused(reason: str) -> TrainResult:
    """Return the outcome of a start command that the device answered and refused: no pulse."""
    return TrainResult(
        outcome="none", pulses=0, counters_before=None, counters_after=None, evidence="status", reason=reason
    )
