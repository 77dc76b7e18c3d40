//! From a folder of pictures and captions to samples, buckets and an epoch's order.
