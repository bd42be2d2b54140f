"""Stand-ins for packages of the tests that do not exist for a free-threaded CPython."""
