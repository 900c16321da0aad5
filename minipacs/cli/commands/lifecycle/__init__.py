"""Commands for how long things are kept: holds, retention."""
