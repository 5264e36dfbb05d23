"""The command spoel: all of it on one machine."""
