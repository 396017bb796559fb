//! Waits that say so: a program that runs, or anything else that takes its time.

use std::io::Read;
use std::process::{Child, Command, Output, Stdio};
use std::thread::{JoinHandle, park_timeout, spawn};
use std::time::{Duration, Instant};

/// After so long the first line of progress, and the next ones.
pub const FIRST_LINE: Duration = Duration::from_secs(2);
/// See [`FIRST_LINE`].
pub const NEXT_LINES: Duration = Duration::from_secs(4);
/// How long to rest between two looks.
const LOOK: Duration = Duration::from_millis(10);
/// How much of what a program prints is kept, in bytes; the rest is read and dropped.
const KEPT: u64 = 1024 * 1024;
/// How much of it an error shows, in bytes.
const SHOWN: usize = 600;

/// Whoever is told.
pub type Say<'a> = &'a (dyn Fn(&str) + Sync);

/// When the next line is due.
#[derive(Debug)]
pub struct Lines {
    begin: Instant,
    next: Instant,
}

impl Lines {
    /// A wait that begins now.
    #[must_use]
    pub fn begin() -> Self {
        let begin = Instant::now();
        let next = begin + FIRST_LINE;
        Self { begin, next }
    }

    /// How long it has taken, if a line is due.
    pub fn due(&mut self) -> Option<Duration> {
        let now = Instant::now();
        if now < self.next {
            return None;
        }
        self.next = now + NEXT_LINES;
        Some(now - self.begin)
    }

    /// Somebody else has just said something.
    pub fn put_off(&mut self) {
        self.next = Instant::now() + NEXT_LINES;
    }

    /// Says that `what` goes on, if a line is due.
    pub fn tell(&mut self, what: &str, say: Say<'_>) {
        if let Some(passed) = self.due() {
            say(&format!("  … {what}: {} s so far", passed.as_secs()));
        }
    }
}

/// What a program prints; it is killed at the deadline. `what` is for those who wait.
///
/// # Errors
/// It cannot be started, fails, or takes too long; with the end of what it has printed.
pub fn output(
    command: &mut Command,
    what: &str,
    deadline: Duration,
    say: Say<'_>,
) -> Result<String, String> {
    let name = command.get_program().display().to_string();
    let piped = command.stdin(Stdio::null()).stdout(Stdio::piped());
    let child = piped.stderr(Stdio::piped()).spawn();
    let mut child = child.map_err(|error| format!("`{name}` does not start: {error}"))?;
    let output = ended(&mut child, what, deadline, say);
    let output = output.map_err(|reason| format!("`{name}` {reason}"))?;
    if !output.status.success() {
        let both = [output.stdout, output.stderr].concat();
        return Err(format!("`{name}`: {}: {}", output.status, tail(&both)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn ended(
    child: &mut Child,
    what: &str,
    deadline: Duration,
    say: Say<'_>,
) -> Result<Output, String> {
    let (stdout, stderr) = (kept(child.stdout.take()), kept(child.stderr.take()));
    let (end, mut lines) = (Instant::now() + deadline, Lines::begin());
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < end => {}
            looked => {
                drop(child.kill());
                drop(child.wait());
                return Err(match looked {
                    Err(error) => format!("cannot be waited for: {error}"),
                    Ok(_) => format!("did not end within {} s", deadline.as_secs()),
                });
            }
        }
        lines.tell(what, say);
        // Nobody wakes it earlier.
        park_timeout(LOOK);
    };
    Ok(Output {
        status,
        stdout: stdout.join().unwrap_or_default(),
        stderr: stderr.join().unwrap_or_default(),
    })
}

/// Reads to the end, so that the program never waits for its reader.
fn kept(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    spawn(move || {
        let mut kept = Vec::new();
        if let Some(mut stream) = stream {
            let all = stream.by_ref().take(KEPT).read_to_end(&mut kept);
            drop(all.and_then(|_| std::io::copy(&mut stream, &mut std::io::sink())));
        }
        kept
    })
}

/// The end of it, on one line.
fn tail(bytes: &[u8]) -> String {
    let end = bytes.get(bytes.len().saturating_sub(SHOWN)..);
    let text = String::from_utf8_lossy(end.unwrap_or_default());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_wait_of_more_than_two_seconds_is_told_of() {
        let said = Mutex::new(Vec::new());
        let say = |line: &str| said.lock().unwrap().push(line.to_owned());
        // Told from within, so that nothing hangs on how fast it is.
        let mut lines = Lines::begin();
        lines.begin -= FIRST_LINE;
        lines.next -= FIRST_LINE;
        lines.tell("the moon", &say);
        lines.tell("the moon", &say);
        assert_eq!(said.lock().unwrap().len(), 1);
        assert!(said.lock().unwrap()[0].contains("the moon: 2 s"));
    }

    #[test]
    fn a_program_is_ended_at_its_deadline_and_its_failure_is_shown() {
        let quiet = |_: &str| ();
        let long = Duration::from_secs(60);
        let run = |script, deadline| output(&mut shell(script), "it", deadline, &quiet);
        assert_eq!(run("echo yes", long).unwrap(), "yes\n");
        let failed = run("echo out; echo wrong >&2; exit 3", long).unwrap_err();
        assert!(
            failed.contains("out wrong") && failed.contains('3'),
            "{failed}"
        );
        let late = run("exec sleep 600", Duration::from_millis(20)).unwrap_err();
        assert!(late.contains("did not end"), "{late}");
        let much = run("head -c 3000000 /dev/zero", long).unwrap();
        assert_eq!(much.len() as u64, KEPT);
    }
}
