"""Stimulators behind one protocol (``adapter.Stimulator``); one folder a maker, each with its simulator.

Four layers: *codec* (bytes to messages, pure) · *transport* (serial port, pty or TCP) · *link* (one writer, one reader,
replies matched to requests) · *adapter* (what the rest of Spoel sees).

Every adapter holds its ``turns`` (the safety rule: whose turn it is, and what a disarm voids); those that hear their
device hold a ``watch`` (what it does that nobody asked for).
"""
