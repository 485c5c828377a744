"""Commands about networks, spaces and recipes, which train nothing."""
