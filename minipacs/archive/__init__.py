"""Where files and index meet: storing, reading back, recovering. Nothing here knows of associations."""
