"""The rules of a good brand folder: what they are (`catalogue`), and one module for each thing that is looked at."""
