"""Files and file-sets in and out."""
