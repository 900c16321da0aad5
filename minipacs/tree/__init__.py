"""Objects as files on disk: staged, synced, published once under the digest of their bytes, never changed."""
