//! Starts the parts of load and talks with them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::job::{Order, Report, Said};

/// Longest silence of a part that has something to say: far more than any job takes.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A running part of load. Dropping it ends it, and it ends when this process does.
#[derive(Debug)]
pub struct Part {
    child: Child,
    words: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

/// A running server for load.
#[derive(Debug)]
pub struct Server {
    /// Where it listens.
    pub at: SocketAddr,
    /// Its process.
    pub part: Part,
}

/// Players who are in.
#[derive(Debug)]
pub struct Players {
    /// How many got in.
    pub count: usize,
    /// Why not more.
    pub trouble: Option<String>,
    /// Their process.
    pub part: Part,
}

impl Server {
    /// Starts one; `harness` is the path of the `harness` binary.
    ///
    /// # Errors
    /// It does not start.
    pub async fn start(harness: &Path) -> Result<Self> {
        let mut part = Part::start(harness, &["server"])?;
        match part.hear().await? {
            Said::Listening(at) => Ok(Self { at, part }),
            said => bail!("the server said {said:?}"),
        }
    }

    /// Ends it; what came of all visits, once they have ended.
    ///
    /// # Errors
    /// Something else came of one than what both ends know beforehand.
    pub async fn end(mut self) -> Result<Report> {
        self.part.tell("end").await?;
        match self.part.hear().await? {
            Said::Report(report) => Ok(report),
            said => bail!("the server said {said:?}"),
        }
    }
}

impl Players {
    /// Starts them and waits until they are in; `harness` is the path of the `harness` binary.
    ///
    /// # Errors
    /// They do not start, or do not get in.
    pub async fn start(harness: &Path, order: &Order) -> Result<Self> {
        let mut part = Part::start(harness, &["players", &serde_json::to_string(order)?])?;
        match part.hear().await? {
            Said::Ready(count, trouble) => Ok(Self {
                count,
                trouble,
                part,
            }),
            said => bail!("the players said {said:?}"),
        }
    }

    /// Has them begin, and waits until what they do counts.
    ///
    /// # Errors
    /// They fail.
    pub async fn begin(&mut self) -> Result<()> {
        self.part.tell("begin").await?;
        match self.part.hear().await? {
            Said::Measuring => Ok(()),
            said => bail!("the players said {said:?}"),
        }
    }

    /// Has those end who would go on for ever.
    ///
    /// # Errors
    /// They have ended before.
    pub async fn end(&mut self) -> Result<()> {
        self.part.tell("end").await
    }

    /// Waits until what they do counts no more.
    ///
    /// # Errors
    /// They fail.
    pub async fn measured(&mut self) -> Result<()> {
        match self.part.hear().await? {
            Said::Measured => Ok(()),
            said => bail!("the players said {said:?}"),
        }
    }

    /// What came of it, once it is measured.
    ///
    /// # Errors
    /// They fail.
    pub async fn report(mut self) -> Result<Report> {
        match self.part.hear().await? {
            Said::Report(report) => Ok(report),
            said => bail!("the players said {said:?}"),
        }
    }
}

impl Part {
    fn start(harness: &Path, arguments: &[&str]) -> Result<Self> {
        let mut child = Command::new(harness)
            .arg("load")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {}", harness.display()))?;
        let words = child.stdin.take().context("no standard input")?;
        let said = child.stdout.take().context("no standard output")?;
        let said = BufReader::new(said).lines();
        Ok(Self { child, words, said })
    }

    /// Its process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    async fn tell(&mut self, word: &str) -> Result<()> {
        let line = format!("{word}\n");
        self.words.write_all(line.as_bytes()).await.context("load")
    }

    async fn hear(&mut self) -> Result<Said> {
        let line = timeout(SILENCE_MAX, self.said.next_line()).await;
        let line = line.with_context(|| format!("no word of the load for {SILENCE_MAX:?}"))??;
        let said = serde_json::from_str(&line.context("the load ended without a word")?)?;
        if let Said::Failed(reason) = said {
            bail!("load: {reason}");
        }
        Ok(said)
    }
}
