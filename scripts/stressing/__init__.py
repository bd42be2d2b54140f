"""The stress program: many threads and event loops over one pool. Started by scripts/stress."""
