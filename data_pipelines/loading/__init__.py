"""From records to batches: which record comes when, augmentation, crops, pseudo-depth, and the tf.data pipeline."""
