//! Settings: one table of keys, read from JSON and the command line.
