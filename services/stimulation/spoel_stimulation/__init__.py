"""Rooms, the pulse engine, device adapters and sessions."""
