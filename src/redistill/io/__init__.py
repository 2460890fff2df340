"""IO: atomic files and checksums, Parquet schemas, stage folders, executors, HTTP, API keys, trackers, progress."""
