"""A recipe, its epochs, one training in a folder, several side by side."""
