//! The line to the process that ordered the load: what it says comes in, what happens goes out.

use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};
use tokio::sync::mpsc;

use super::job::Said;

/// Words that wait to be read: there are never more than `begin` and `end`.
const WORDS_MAX: usize = 2;

/// Whoever ordered the load.
#[derive(Debug)]
pub(super) struct Parent {
    words: mpsc::Receiver<String>,
}

impl Parent {
    /// Listens on standard input. Its end is the end of this process, so that a killed parent
    /// leaves nothing behind.
    pub(super) fn listen() -> Self {
        let (sender, words) = mpsc::channel(WORDS_MAX);
        std::thread::spawn(move || {
            for line in std::io::stdin().lock().lines() {
                let Ok(line) = line else { break };
                if sender.blocking_send(line).is_err() {
                    break;
                }
            }
            std::process::exit(0);
        });
        Self { words }
    }

    /// Waits for `begin` or `end`.
    pub(super) async fn word(&mut self, expected: &str) -> Result<()> {
        let word = self.words.recv().await.context("nobody listens")?;
        if word != expected {
            bail!("told {word:?} instead of {expected:?}");
        }
        Ok(())
    }

    pub(super) async fn ready(&mut self, players: usize) -> Result<()> {
        say(&Said::Ready(players, None))?;
        self.word("begin").await
    }
}

/// Says something to the parent.
pub(super) fn say(said: &Said) -> Result<()> {
    let mut line = serde_json::to_vec(said)?;
    line.push(b'\n');
    let mut out = std::io::stdout().lock();
    out.write_all(&line)?;
    Ok(out.flush()?)
}
