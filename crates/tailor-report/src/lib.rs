//! What people look at: plots, picture grids, self-contained pages.
