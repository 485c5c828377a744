"""Knobs, the hard budget, drawing within it, and the networks that have names."""
