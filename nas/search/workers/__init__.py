"""Who trains what next, the processes that train, and the process that watches over them."""
