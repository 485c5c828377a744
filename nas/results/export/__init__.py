"""Networks to take away, in folders that need nas no more."""
