//! A proxy before an engine, as its users put one there: it writes down what is asked for, allows what it is
//! told to, and is shut on request. Lists show one test's containers alone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::OWNER;

/// Longest head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// How it treats requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of them are passed on.
    Open,
    /// All that change nothing.
    ReadOnly,
    /// All but those that tell what there is: events and lists, of which those under way are cut.
    Mute,
    /// None, and those under way are cut.
    Shut,
}

/// The proxy; dropping it ends it.
#[derive(Debug)]
pub struct EngineProxy {
    addr: SocketAddr,
    mode: watch::Sender<Mode>,
    asked: Arc<Mutex<Vec<String>>>,
    _end: DropGuard,
}

/// What every connection needs.
#[derive(Debug, Clone)]
struct Passing {
    upstream: String,
    owner: String,
    mode: watch::Receiver<Mode>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl EngineProxy {
    /// Stands before the engine at `upstream`.
    pub(super) async fn start(upstream: &str, owner: &str) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (addr, end) = (listener.local_addr()?, CancellationToken::new());
        let (mode, asked) = (watch::Sender::new(Mode::Open), Arc::<Mutex<_>>::default());
        let passing = Passing {
            upstream: upstream.to_owned(),
            owner: owner.to_owned(),
            mode: mode.subscribe(),
            asked: Arc::clone(&asked),
        };
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                let passing = passing.clone();
                tokio::spawn(async move { drop(passing.serve(client).await) });
            }
        };
        tokio::spawn(end.clone().run_until_cancelled_owned(accepting));
        Ok(Self {
            addr,
            mode,
            asked,
            _end: end.drop_guard(),
        })
    }

    /// Where it is, as a router takes it.
    #[must_use]
    pub fn socket(&self) -> String {
        format!("tcp://{}", self.addr)
    }

    /// Treats requests like this from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// What it has been asked for so far, as `GET /path`.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.clone()
    }
}

impl Passing {
    async fn serve(mut self, mut client: TcpStream) -> Result<()> {
        let head = self.head(&mut client).await?;
        let mode = *self.mode.borrow_and_update();
        let path = head.split([' ', '?']).nth(1).unwrap_or_default();
        let tells = path.ends_with("/events") || path.ends_with("/containers/json");
        ensure!(mode != Mode::Shut && (mode != Mode::Mute || !tells), "shut");
        if mode == Mode::ReadOnly && !head.starts_with("GET ") {
            let refusal =
                "HTTP/1.1 403 Forbidden\r\ncontent-length: 9\r\nconnection: close\r\n\r\nforbidden";
            return Ok(client.write_all(refusal.as_bytes()).await?);
        }
        let passed = async {
            match self.upstream.strip_prefix("unix://") {
                Some(path) => pass(&head, client, UnixStream::connect(path).await?).await,
                None => {
                    let address = self.upstream.rsplit('/').next().unwrap_or_default();
                    pass(&head, client, TcpStream::connect(address).await?).await
                }
            }
        };
        let mut shut = self.mode.clone();
        tokio::select! {
            passed = passed => passed,
            _ = shut.wait_for(|mode| *mode == Mode::Shut || (tells && *mode == Mode::Mute)) => Ok(()),
        }
    }

    /// The head of a request; that of a list asks for one test's containers.
    async fn head(&self, client: &mut TcpStream) -> Result<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(head.len() < HEAD_BYTES_MAX, "a long head");
            head.push(client.read_u8().await?);
        }
        let head = String::from_utf8(head)?;
        let line = head.lines().next().context("no request")?;
        let mut words = line.split(' ');
        let (method, target) = (words.next(), words.next().context("no path")?);
        let path = target.split('?').next().unwrap_or_default();
        let asked = format!("{} {path}", method.unwrap_or_default());
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(asked);
        if !path.ends_with("/containers/json") {
            return Ok(head);
        }
        let label = "%22mc-router.host%22";
        ensure!(line.contains(label), "a list without the label: {line}");
        let owner = format!("{label}%2C%22{OWNER}%3D{}%22", self.owner);
        Ok(head.replacen(label, &owner, 1))
    }
}

async fn pass(
    head: &str,
    mut client: TcpStream,
    mut engine: impl AsyncRead + AsyncWrite + Unpin,
) -> Result<()> {
    engine.write_all(head.as_bytes()).await?;
    copy_bidirectional(&mut client, &mut engine).await?;
    Ok(())
}
