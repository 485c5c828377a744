"""The cards on what was found."""
