"""The event backbone against the bare drivers and the bare broker: append, relay, consume, latency, memory.

Each part can be run alone: ``spoel bench backbone.append``. Both sides of every figure start from the same pydantic
envelopes, encode them inside the timing, and are durable in the same way (``synchronous=FULL``, ``fsync=on``,
``sync_interval: always``) on the same disk.
"""

from spoel_local.bench import Result

from . import append, consume, latency, memory, relay

PARTS = (append, relay, consume, latency, memory)


def run() -> list[Result]:
    """Measure every part."""
    return [result for part in PARTS for result in part.run()]
