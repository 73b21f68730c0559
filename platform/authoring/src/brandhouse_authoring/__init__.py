"""From a table to a brand folder, and the folder's life afterwards."""
