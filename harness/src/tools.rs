//! Programs of the distribution that stand in front of a router, or behind it, in tests.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::skip;

/// Where the system's servers are, whether or not that is on the path.
const FOLDER: &str = "/usr/sbin";

/// The program of that name; `None` where it is not installed, and the test is told as skipped.
///
/// # Errors
/// It is not installed, and nothing may be skipped.
pub fn program(name: &str, package: &str) -> Result<Option<PathBuf>> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([Path::new(FOLDER).to_owned()]);
    let found = folders
        .map(|folder| folder.join(name))
        .find(|file| file.is_file());
    if found.is_none() {
        skip(&format!(
            "{name} is not installed (Debian's package {package})"
        ))?;
    }
    Ok(found)
}

/// A port of loopback that nobody listens on, for a program that has to be told one.
///
/// # Errors
/// No port is to be had.
pub fn free_port() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}
