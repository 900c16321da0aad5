"""The database engine, which knows nothing of what is stored; whatever is SQLite's own stays in here."""
