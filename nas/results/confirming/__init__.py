"""The winners of a search trained in full, raced over seeds and tested once."""
