"""Finds the best small image classifiers under a hard parameter budget."""
