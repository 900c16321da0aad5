"""What each kind of process does."""
