//! Reads clothing images from every source into one data set: splits, preparation, augmentation, batches.
