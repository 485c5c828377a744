"""What a step of a training does: gradients, recorded on a GPU, the rate, the rule of the optimiser."""
