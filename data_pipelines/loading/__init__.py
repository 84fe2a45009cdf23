"""To batches: the order of records, augmentation, crops, pseudo-depth, tf.data, background work and data echoing."""
