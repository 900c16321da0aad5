"""Character sets and names."""
