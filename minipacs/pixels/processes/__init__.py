"""The processes that decode and encode, what they are asked for, and what they may take."""
