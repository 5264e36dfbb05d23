"""What runs a room: its device link, its journal, the conductor of its trains, its recovery and its emergency stop.

Order of every doubt: disarm first, then ask the device, then write down, then wait for a person.
"""

from spoel_stimulation.runner.room import Room

__all__ = ["Room"]
