"""What a layer tree becomes in torch: a module, the fast forms of its operations, and source that needs no nas."""
