"""From the first epochs to the last: families of curves, the extrapolator, rules that stop a training."""
