"""The documentation site: its sources in one folder, the build, and the checks afterwards. Used by scripts/docs."""
