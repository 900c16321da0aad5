"""The audit trail: who did what to whose data, kept and sent as PS3.15 A.5 says."""
