"""What attack.py is made of, a module an attack."""
