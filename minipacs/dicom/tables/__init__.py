"""Facts of the standard, as tables."""
