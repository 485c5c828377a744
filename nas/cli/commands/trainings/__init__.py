"""Commands that train networks or take them away, and look at data."""
