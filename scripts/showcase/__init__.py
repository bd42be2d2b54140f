"""The parts of scripts/demo: plain httpx programs, faults, and a small comparison."""
