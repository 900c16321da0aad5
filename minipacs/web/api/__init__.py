"""What has no standard: the change feed in words that others know, and what operations need."""
