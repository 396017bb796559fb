//! An engine that says what it is told to, sense or nonsense, for as long as it is told to.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What one kind of request is answered with.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Status 200 with this.
    Json(Value),
    /// This status, and a reason in the engine's form.
    Status(u16),
    /// Status 200 with these bytes, and the end.
    Bytes(Vec<u8>),
    /// Status 200 with these bytes, over and over.
    Endless(Vec<u8>),
    /// Nothing.
    Silence,
    /// The end, at once.
    HangUp,
    /// Status 200, and an event whenever [`FakeEngine::tell`] is called.
    Events,
}

/// The engine; dropping it ends it.
#[derive(Debug)]
pub struct FakeEngine {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _end: DropGuard,
}

#[derive(Debug)]
struct Shared {
    list: Mutex<Answer>,
    events: Mutex<Answer>,
    asked: Mutex<Vec<String>>,
    told: watch::Sender<u64>,
    /// Ends what goes on when it changes.
    cut: watch::Sender<u64>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A running container as a list has it.
#[must_use]
pub fn container(name: &str, host: &str, address: &str, port: u16) -> Value {
    json!({
        "Id": format!("{name}-id"),
        "Names": [format!("/{name}")],
        "Image": "server",
        "Created": 1,
        "Ports": [],
        "Labels": {"mc-router.host": host, "mc-router.port": port.to_string()},
        "State": "running",
        "Status": "Up 1 second",
        "NetworkSettings": {"Networks": {"bridge": {"NetworkID": "net", "IPAddress": address}}},
    })
}

impl FakeEngine {
    /// An engine with these containers.
    ///
    /// # Errors
    /// No port is to be had.
    pub async fn start(containers: &[Value]) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (addr, end) = (listener.local_addr()?, CancellationToken::new());
        let shared = Arc::new(Shared {
            list: Mutex::new(Answer::Json(json!(containers))),
            events: Mutex::new(Answer::Events),
            asked: Mutex::default(),
            told: watch::Sender::new(0),
            cut: watch::Sender::new(0),
        });
        let (own, ended) = (Arc::clone(&shared), end.clone());
        let accepting = async move {
            while let Ok((client, _)) = listener.accept().await {
                let own = Arc::clone(&own);
                let mut cut = own.cut.subscribe();
                let serve = async move {
                    tokio::select! {
                        _ = cut.changed() => {}
                        served = own.serve(client) => drop(served),
                    }
                };
                tokio::spawn(ended.clone().run_until_cancelled_owned(serve));
            }
        };
        tokio::spawn(end.clone().run_until_cancelled_owned(accepting));
        Ok(Self {
            addr,
            shared,
            _end: end.drop_guard(),
        })
    }

    /// Where it is, as a router takes it.
    #[must_use]
    pub fn socket(&self) -> String {
        format!("tcp://{}", self.addr)
    }

    /// Answers lists like this from now on.
    pub fn list(&self, answer: Answer) {
        *lock(&self.shared.list) = answer;
    }

    /// Answers requests for events like this from now on.
    pub fn events(&self, answer: Answer) {
        *lock(&self.shared.events) = answer;
    }

    /// Tells an event.
    pub fn tell(&self) {
        self.shared.told.send_modify(|told| *told += 1);
    }

    /// Ends every connection.
    pub fn cut(&self) {
        self.shared.cut.send_modify(|cut| *cut += 1);
    }

    /// How often a path that ends like this has been asked for.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        let asked = lock(&self.shared.asked);
        asked.iter().filter(|asked| asked.ends_with(path)).count()
    }
}

impl Shared {
    async fn serve(&self, mut client: TcpStream) -> Result<()> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split([' ', '?']).nth(1).unwrap_or_default().to_owned();
        let answer = if path.ends_with("/events") {
            lock(&self.events).clone()
        } else {
            lock(&self.list).clone()
        };
        let mut told = self.told.subscribe();
        lock(&self.asked).push(path);
        match answer {
            Answer::Json(value) => whole(&mut client, 200, value.to_string().as_bytes()).await,
            Answer::Status(status) => {
                whole(&mut client, status, br#"{"message":"as it was told"}"#).await
            }
            Answer::Bytes(bytes) => whole(&mut client, 200, &bytes).await,
            Answer::Endless(bytes) => {
                begin(&mut client).await?;
                loop {
                    client.write_all(&bytes).await?;
                }
            }
            Answer::Silence => std::future::pending().await,
            Answer::HangUp => Ok(()),
            Answer::Events => {
                begin(&mut client).await?;
                loop {
                    told.changed().await?;
                    let event = json!({"Type": "container", "Action": "start", "time": 1});
                    client.write_all(format!("{event}\n").as_bytes()).await?;
                }
            }
        }
    }
}

async fn whole(client: &mut TcpStream, status: u16, body: &[u8]) -> Result<()> {
    let head = format!(
        "HTTP/1.1 {status} As Told\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    client.write_all(head.as_bytes()).await?;
    client.write_all(body).await?;
    Ok(client.shutdown().await?)
}

/// The head of an answer that ends with the connection.
async fn begin(client: &mut TcpStream) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n";
    Ok(client.write_all(head.as_bytes()).await?)
}
