"""Append-only, tamper-evident log."""
