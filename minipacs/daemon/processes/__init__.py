"""What each kind of process does, and what it has from its parent and tells it."""
