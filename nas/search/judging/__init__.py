"""Rules of stopping applied to a run, and whether they were right."""
