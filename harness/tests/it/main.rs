//! End-to-end tests.
// `cfg(test)` tells clippy that helper functions are test code, too.

#[cfg(test)]
mod chaos;
#[cfg(test)]
mod infra;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod waker_rows;
