"""What a network takes where it runs: its operations in order, the memory of their values, the bytes of its weights."""
