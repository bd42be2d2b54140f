"""The benchmark: candidates (`sync_clients`, `async_clients`), method (`measure`), tasks (`sections`)."""
