"""Stimulators without a public protocol: set by hand, fired through a trigger box, described by the operator.

Nothing is read back by wire. What the device shows is what a person says that it shows, and is recorded as that; see
docs/decisions/0032-a-stimulator-that-tells-nothing.md.
"""
