"""MagVenture MagPro (R30, X100, with and without MagOption) on its serial port COM2.

The protocol is known from open clients alone (MAGIC, magicpy, pytms, MagProController, NeuroSimo); nothing here was
tried on hardware. None of those clients is a dependency, and no code of theirs is in this package.
"""
