"""Writers of data sets in the formats of their owners, with synthetic people of the built-in body in the images."""
