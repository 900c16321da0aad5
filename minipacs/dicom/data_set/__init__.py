"""Data sets between bytes and values."""
