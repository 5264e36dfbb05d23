"""Deymed DuoMAG over its serial line (1 Mbaud): single pulses, timed by the host.

The protocol is known from one open client alone (MAGIC); nothing here was tried on hardware. It is no dependency, and
no code of it is in this package. The line has no frame check, no name of the device and no counter of pulses, so what
can be known is little, and said so: see ``codec``, ``adapter`` and docs/devices.md.
"""
