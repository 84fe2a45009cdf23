"""From published labels to those of records: images, crops, keypoints, cameras, SMPL-X, depth, HMR2.0's filters."""
