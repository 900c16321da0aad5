"""What the archive does for its peers: one file for each DIMSE service, and the dispatch that finds it."""
