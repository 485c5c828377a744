"""The cards on the networks and their knobs."""
