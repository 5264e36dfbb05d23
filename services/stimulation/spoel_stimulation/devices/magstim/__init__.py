"""Magstim: Rapid² of every software version, 200² and BiStim²; adapter, guard's knowledge, and simulators."""
