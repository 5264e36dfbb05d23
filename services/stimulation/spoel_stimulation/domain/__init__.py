"""The rules of a room: what may happen, in which order, under which conditions. Pure: no I/O, no clock, no chance."""
