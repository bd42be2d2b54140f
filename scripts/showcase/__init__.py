"""What scripts/demo shows: plain httpx programs, faults, and a small comparison."""
