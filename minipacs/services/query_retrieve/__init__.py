"""Query/Retrieve and Modality Worklist: from an identifier to its responses (PS3.4 C, K)."""
