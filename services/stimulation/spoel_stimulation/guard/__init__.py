"""The guard of rooms' devices: a small process that holds their ports and can stop them whatever else is broken.

It passes whole frames between a room's process and its device, serves the emergency stop on a listener of its own,
disarms when the room's process is silent or gone, repeats that until it is read back, and keeps a flushed file of what
it did (INV-8, INV-11). One thread does all of it and never waits for a disk, a name or a client; it imports no web
framework, no database and no broker. ``docs/guard.md`` tells how it is wired and tested.
"""
