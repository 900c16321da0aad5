"""Commands for what is scheduled, performed, committed and sent on: orders, worklist, steps, commitments, routes."""
