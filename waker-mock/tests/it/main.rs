//! A server-manager in this process, asked over real sockets.
// `cfg(test)` tells clippy that helper functions are test code, too.

#[cfg(test)]
mod client;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod library;
