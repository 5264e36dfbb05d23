"""What the simulators of all makers share: a port on the real wire, a record of their own, faults, and a process.

A simulator behaves as its device is described, not as Spoel's adapter expects: programs that people already use to
drive such a device work with it unchanged.
"""
