"""The user's own data on disk: a .npz of arrays or a folder of images a class."""
