//! Everything about the database: where it is, how to reach it, what is read from it and when.

pub mod dsn;
mod parameters;
