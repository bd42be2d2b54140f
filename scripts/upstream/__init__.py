"""The suites of httpcore and httpx, run against httpcore_rs: `sources`, then `rewrite`, then `run` with `plugin`."""
