"""What a search came to: its Pareto front, the merits of its networks, how its strategies compare."""
