"""Stimulators behind one protocol (``adapter.Stimulator``); one folder a maker, each with its simulator.

Four layers: *codec* (bytes to messages, pure) · *transport* (serial port, pty or TCP) · *link* (one writer, one reader,
replies matched to requests) · *adapter* (what the rest of Spoel sees).
"""
