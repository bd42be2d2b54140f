"""The suites of httpcore and httpx, run against us: fetched (`sources`), adapted (`rewrite`), run (`run`, `plugin`)."""
