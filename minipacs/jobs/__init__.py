"""Background work, a file for each kind."""
