//! End-to-end tests.
// `cfg(test)` tells clippy that helper functions are test code, too.

#[cfg(test)]
mod api;
#[cfg(test)]
mod binary;
#[cfg(test)]
mod chaos;
#[cfg(test)]
mod infra;
#[cfg(test)]
mod relay;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod tidy;
#[cfg(test)]
mod waker_rows;
#[cfg(test)]
mod world;
