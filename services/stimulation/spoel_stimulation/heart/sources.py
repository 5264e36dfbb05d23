"""Which belt an address means."""

from spoel_stimulation.heart.bluetooth import BluetoothBelt
from spoel_stimulation.heart.source import HeartSource
from spoel_stimulation.heart.tcp import TcpBelt


def source_of(address: str) -> HeartSource:
    """Return the belt at ``bluetooth://…`` or ``socket://host:port``; nothing is connected yet.

    Raises:
        ValueError: another kind of address.
    """
    return BluetoothBelt(address) if address.startswith("bluetooth://") else TcpBelt(address)
