"""What is to go, what may not go, and what went by a plan."""
