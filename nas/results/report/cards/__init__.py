"""The cards of a report, a topic a file."""
