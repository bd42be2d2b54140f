"""Instructions per request under callgrind: scenarios, the relay that makes them repeatable, and the baseline."""
