"""What every Spoel service needs and none owns."""
