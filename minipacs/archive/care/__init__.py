"""What keeps files and rows true to each other."""
