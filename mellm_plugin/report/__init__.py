"""What lmms-eval wrote, as tables and as a page."""
