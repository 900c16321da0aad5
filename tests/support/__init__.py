"""What tests drive the archive with: the real process, dcmtk, and bytes on a socket."""
