"""What planning decides: pure functions over plans, calendars and the clinic's rules; no I/O, no clock."""
