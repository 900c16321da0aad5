"""What the archive remembers of its own doings."""
