"""Results files of lmms-eval -> a leaderboard, as tables and as a page."""
