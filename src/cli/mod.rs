//! One file a subcommand; the only room that prints.
