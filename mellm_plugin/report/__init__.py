"""From the files that lmms-eval writes to tables and a page."""
