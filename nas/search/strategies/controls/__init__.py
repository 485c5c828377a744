"""Strategies that learn nothing, for those that do to be measured against."""
