"""The parts of scripts/fuzz_border.py."""
