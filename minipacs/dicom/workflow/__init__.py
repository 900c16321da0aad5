"""Rules of worklist items and performed procedure steps."""
