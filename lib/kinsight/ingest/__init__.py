"""Stage `ingest`: raw files of any columns to events, items and users; bad rows to quarantine."""
