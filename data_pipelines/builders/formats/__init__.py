"""File formats that several data sets share, and releases of labels for the images of others."""
