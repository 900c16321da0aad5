"""The benchmark: real work by real clients against the archive and its peers, side by side. See docs/benchmarks.md."""
