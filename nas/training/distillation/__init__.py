"""A trained network that teaches another: knowledge distillation (Hinton et al. 2015)."""
