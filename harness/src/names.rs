//! A name server of our own, and routers that ask it and no other.
//!
//! The system's resolver is told by a file that is the same for the whole machine, so a router gets a view of its own
//! (a mount namespace), which takes root.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio_util::task::AbortOnDropHandle;

use crate::router::{RouterProcess, Settings};
use crate::{binaries, skip};

/// Longest question that is read (RFC 1035, section 4.2.1).
const QUESTION_BYTES_MAX: usize = 512;
/// Has `$1` stand in the place of the resolver's file for the rest of the command.
const WITH_RESOLVER: &str = "mount --bind \"$1\" /etc/resolv.conf && shift && exec \"$@\"";

/// What is known of names.
#[derive(Debug, Default)]
struct Known {
    addresses: HashMap<String, Vec<IpAddr>>,
    dead: HashSet<String>,
}

/// A name server on an address of its own, gone when dropped.
#[derive(Debug)]
pub struct NameServer {
    known: Arc<Mutex<Known>>,
    folder: TempDir,
    _serving: AbortOnDropHandle<()>,
}

impl NameServer {
    /// Starts one that knows no name. Where there may be none the test is noted as skipped.
    ///
    /// # Errors
    /// It may not be skipped, or a file cannot be written.
    pub async fn start() -> Result<Option<Self>> {
        let mut view = unshared();
        let outcome = view.args(["true"]).output().await;
        if !outcome.is_ok_and(|output| output.status.success()) {
            skip("no mount namespace of its own (unshare, as root)")?;
            return Ok(None);
        }
        // One for each test of each process, where nobody else has port 53.
        static NEXT: AtomicU8 = AtomicU8::new(1);
        let [_, _, high, low] = std::process::id().to_be_bytes();
        let host = Ipv4Addr::new(127, high | 0x80, low, NEXT.fetch_add(1, Ordering::Relaxed));
        let Ok(socket) = UdpSocket::bind((host, 53)).await else {
            skip("port 53 is not to be had")?;
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        let file = format!("nameserver {host}\noptions timeout:5 attempts:2\n");
        std::fs::write(folder.path().join("resolv.conf"), file)?;
        let known = Arc::<Mutex<Known>>::default();
        let serving = tokio::spawn(serve(socket, Arc::clone(&known)));
        Ok(Some(Self {
            known,
            folder,
            _serving: AbortOnDropHandle::new(serving),
        }))
    }

    /// Has `name` lead to `addresses`, in this order.
    pub fn answers(&self, name: &str, addresses: &[IpAddr]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.addresses.insert(name.to_owned(), addresses.to_vec());
    }

    /// Has nothing below `zone` ever be answered.
    pub fn dead(&self, zone: &str) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.dead.insert(zone.to_owned());
    }

    /// Starts a router that asks this server.
    ///
    /// # Errors
    /// It does not start; the error shows its log.
    pub async fn router(&self, settings: Settings) -> Result<RouterProcess> {
        let program = binaries::router().await?;
        let file = self.folder.path().join("resolv.conf");
        let view = self.folder.path().join("router");
        // Arguments are the router's, so what is around them is a program of its own.
        let text = format!(
            "#!/bin/sh\nexec unshare --mount sh -c '{WITH_RESOLVER}' sh '{}' '{}' \"$@\"\n",
            file.display(),
            program.display()
        );
        std::fs::write(&view, text)?;
        executable(&view)?;
        RouterProcess::start_program(&view, settings).await
    }
}

fn executable(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))
        .with_context(|| path.display().to_string())
}

fn unshared() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--"]);
    command
}

async fn serve(socket: UdpSocket, known: Arc<Mutex<Known>>) {
    let mut question = [0; QUESTION_BYTES_MAX];
    while let Ok((length, from)) = socket.recv_from(&mut question).await {
        let answer = {
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            question
                .get(..length)
                .and_then(|asked| answer(asked, &known))
        };
        if let Some(answer) = answer {
            drop(socket.send_to(&answer, from).await);
        }
    }
}

/// The answer to a query (RFC 1035, section 4), if there is to be one.
fn answer(query: &[u8], known: &Known) -> Option<Vec<u8>> {
    let (id, mut rest) = (query.get(..2)?, query.get(12..)?);
    let mut labels = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        let length = usize::from(*length);
        let label = after.get(..length)?;
        rest = after.get(length..)?;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(label).to_ascii_lowercase());
    }
    let kind = rest.get(..2)?;
    let asked = query.get(12..query.len().checked_sub(rest.len())? + 4)?;
    let name = labels.join(".");
    let zone = name.split_once('.').map_or("", |(_, zone)| zone);
    if known.dead.contains(zone) {
        return None;
    }
    let addresses = known.addresses.get(&name);
    let records: Vec<Vec<u8>> = addresses
        .into_iter()
        .flatten()
        .filter_map(|address| match (address, kind) {
            (IpAddr::V4(address), [0, 1]) => Some(address.octets().to_vec()),
            (IpAddr::V6(address), [0, 28]) => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let no_such_name = if addresses.is_some() { 0 } else { 3 };
    let count = u8::try_from(records.len()).ok()?;
    let mut answer = [
        id,
        &[0x81, 0x80 | no_such_name, 0, 1, 0, count, 0, 0, 0, 0],
        asked,
    ]
    .concat();
    for record in records {
        // The name of the question, its kind, class IN, no time to live.
        answer.extend([0xC0, 12]);
        answer.extend(kind);
        answer.extend([0, 1, 0, 0, 0, 0, 0, u8::try_from(record.len()).ok()?]);
        answer.extend(record);
    }
    Some(answer)
}
