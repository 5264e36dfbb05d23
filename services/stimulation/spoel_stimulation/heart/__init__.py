"""Heartbeats from a chest belt: the Bluetooth heart rate profile, its simulator, and the recording of a series."""
