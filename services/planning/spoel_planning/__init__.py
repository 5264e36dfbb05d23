"""Target, threshold, prescription, signature and bookings."""
