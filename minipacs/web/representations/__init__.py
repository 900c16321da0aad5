"""Forms of what is asked and answered (PS3.18 8.7): which one is acceptable, how each is read and written."""
