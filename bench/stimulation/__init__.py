"""Stimulation: pulse engine, rooms in real time, latency of a command."""
