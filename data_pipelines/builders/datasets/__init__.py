"""One file a data set: how its owners publish it, and how its people become records."""
