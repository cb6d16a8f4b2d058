//! Recipes, the training loop, schedules, checkpoints.
