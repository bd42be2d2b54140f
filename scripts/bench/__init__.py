"""The benchmark: who is compared (`sync_clients`, `async_clients`), how (`measure`), on what (`sections`)."""
