"""Requests per second against the number of threads, on interpreters with the GIL and without."""
