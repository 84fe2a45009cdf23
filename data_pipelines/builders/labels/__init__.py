"""What builders make of labels: bodies, keypoints, projections, crops, depth, and filters of what to trust."""
