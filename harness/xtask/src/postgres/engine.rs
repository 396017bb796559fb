//! Whether a Docker engine answers and has an image, or can pull it.
//!
//! Three questions of HTTP/1.0 by hand: any client is twenty packages that would be compiled before the first word.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::patience::{Lines, Say};

/// The image to run; it keeps the contract of the official one.
const IMAGE_VARIABLE: &str = "AUTOMC_TEST_POSTGRES_IMAGE";
const DEFAULT_IMAGE: &str = "postgres:17-alpine";
/// An engine that is there answers at once.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// For a missing image; afterwards it counts as not to be had.
const PULL_DEADLINE: Duration = Duration::from_secs(120);
/// How long one read may take before the clock is looked at.
const READ_DEADLINE: Duration = Duration::from_millis(500);
/// How much of an answer is kept, in bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// The image the environment asks for, with its tag.
#[must_use]
pub fn image() -> String {
    let image = std::env::var(IMAGE_VARIABLE).ok();
    let image = image.filter(|image| !image.trim().is_empty());
    tagged(&image.unwrap_or_else(|| DEFAULT_IMAGE.to_owned()))
}

/// A colon before the last slash belongs to a registry's port.
fn tagged(image: &str) -> String {
    match image.rsplit('/').next() {
        Some(name) if name.contains(':') => image.to_owned(),
        _ => format!("{image}:latest"),
    }
}

/// The engine that everything here talks to: `DOCKER_HOST`, else the first socket that is there.
#[must_use]
pub fn engine_of_environment() -> String {
    engine_host(std::env::var("DOCKER_HOST").ok(), sockets())
}

/// The engine that testcontainers talks to, so that the clean-up talks to the same.
fn engine_host(docker_host: Option<String>, sockets: impl IntoIterator<Item = PathBuf>) -> String {
    docker_host.unwrap_or_else(|| {
        let socket = sockets.into_iter().find(|socket| socket.exists());
        let socket = socket.unwrap_or_else(|| PathBuf::from("/var/run/docker.sock"));
        format!("unix://{}", socket.display())
    })
}

fn sockets() -> Vec<PathBuf> {
    let under = |variable, rest| std::env::var_os(variable).map(|dir| Path::new(&dir).join(rest));
    [
        Some(PathBuf::from("/var/run/docker.sock")),
        under("XDG_RUNTIME_DIR", ".docker/run/docker.sock"),
        under("HOME", ".docker/run/docker.sock"),
        under("HOME", ".docker/desktop/docker.sock"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Whether an engine answers and has the image, which is pulled if need be; else the reason. Takes 130 s at most.
pub(super) fn can_start(image: &str, say: Say<'_>) -> Result<(), String> {
    let host = engine_of_environment();
    can_start_at(&host, image, say)
}

fn can_start_at(host: &str, image: &str, say: Say<'_>) -> Result<(), String> {
    let plain = |char: char| char.is_ascii_alphanumeric() || "._-/:@".contains(char);
    if !image.chars().all(plain) {
        return Err(format!("{IMAGE_VARIABLE} is no name of an image: {image}"));
    }
    let ask = |request: &str, deadline, wait: &str| {
        let asked = ask(host, request, deadline, wait, say);
        asked.map_err(|error| format!("no Docker engine at {host}: {error}"))
    };
    let look = format!("GET /images/{image}/json");
    match ask("GET /_ping", ANSWER_DEADLINE, "the Docker engine")?.0 {
        200 => {}
        status => {
            return Err(format!(
                "no Docker engine at {host}: it answers with {status}"
            ));
        }
    }
    if ask(&look, ANSWER_DEADLINE, "the Docker engine")?.0 == 200 {
        return Ok(());
    }
    say(&format!(
        "  the Docker engine has no image {image}; pulling it"
    ));
    let pull = format!("POST /images/create?fromImage={image}");
    let (status, answer) = ask(&pull, PULL_DEADLINE, &format!("pulling {image}"))?;
    // An error after the first byte is told in the answer.
    if ask(&look, ANSWER_DEADLINE, "the Docker engine")?.0 == 200 {
        return Ok(());
    }
    let last = answer.lines().last().unwrap_or_default();
    Err(format!(
        "the Docker engine cannot pull {image}: {status} {last}"
    ))
}

/// A stream of either kind, whose reads end.
trait Stream: Read + Write {}
impl Stream for UnixStream {}
impl Stream for TcpStream {}

fn connect(host: &str) -> io::Result<Box<dyn Stream>> {
    if let Some(path) = host.strip_prefix("unix://") {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(READ_DEADLINE))?;
        stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
        return Ok(Box::new(stream));
    }
    let Some(address) = host
        .strip_prefix("tcp://")
        .or_else(|| host.strip_prefix("http://"))
    else {
        return Err(io::Error::other("it is no unix:// and no tcp://"));
    };
    let mut found = std::net::ToSocketAddrs::to_socket_addrs(address.trim_end_matches('/'))?;
    let address = found.next().ok_or_else(|| io::Error::other("no address"))?;
    let stream = TcpStream::connect_timeout(&address, ANSWER_DEADLINE)?;
    stream.set_read_timeout(Some(READ_DEADLINE))?;
    stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
    Ok(Box::new(stream))
}

/// Status and the end of the answer to one request.
fn ask(
    host: &str,
    request: &str,
    deadline: Duration,
    wait: &str,
    say: Say<'_>,
) -> io::Result<(u16, String)> {
    let mut stream = connect(host)?;
    write!(
        stream,
        "{request} HTTP/1.0\r\nHost: engine\r\nContent-Length: 0\r\n\r\n"
    )?;
    let (end, mut lines) = (Instant::now() + deadline, Lines::begin());
    let (mut answer, mut buffer, mut status) = (Vec::new(), [0; 4096], None);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => answer.extend_from_slice(buffer.get(..length).unwrap_or_default()),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error),
        }
        status = status.or_else(|| status_of(&answer));
        answer.drain(..answer.len().saturating_sub(ANSWER_MAX));
        if Instant::now() >= end {
            let late = format!("no answer within {} s", deadline.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, late));
        }
        lines.tell(wait, say);
    }
    let status = status.or_else(|| status_of(&answer));
    let status = status.ok_or_else(|| io::Error::other("it does not speak HTTP"))?;
    Ok((status, String::from_utf8_lossy(&answer).into_owned()))
}

/// From `HTTP/1.x NNN`, once it is there.
fn status_of(answer: &[u8]) -> Option<u16> {
    let line = answer.get(..12)?.strip_prefix(b"HTTP/1.")?;
    std::str::from_utf8(line.get(2..)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;

    use super::*;

    /// An engine that gives these answers, one for each connection, and what it was asked.
    fn engine(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let serve = move || {
            let serve = answers.into_iter().map(|answer| {
                let (mut stream, _) = listener.accept().unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let asked = lines.next().unwrap().unwrap();
                while !lines.next().unwrap().unwrap().is_empty() {}
                stream.write_all(answer.as_bytes()).unwrap();
                asked
            });
            serve.collect()
        };
        (host, std::thread::spawn(serve))
    }

    const YES: &str = "HTTP/1.1 200 OK\r\n\r\n";
    const NO: &str = "HTTP/1.1 404 Not Found\r\n\r\n";

    #[test]
    fn an_image_is_asked_for_pulled_and_asked_for_again() {
        let quiet = |_: &str| ();
        let (host, asked) = engine(vec![YES, YES]);
        assert_eq!(can_start_at(&host, "pg:17", &quiet), Ok(()));
        assert_eq!(asked.join().unwrap()[1], "GET /images/pg:17/json HTTP/1.0");

        let (host, asked) = engine(vec![YES, NO, YES, YES]);
        assert_eq!(can_start_at(&host, "pg:17", &quiet), Ok(()));
        let asked = asked.join().unwrap();
        assert_eq!(asked[2], "POST /images/create?fromImage=pg:17 HTTP/1.0");

        let refused = "HTTP/1.1 200 OK\r\n\r\n{\"status\":\"pulling\"}\n{\"error\":\"denied\"}\n";
        let (host, _) = engine(vec![YES, NO, refused, NO]);
        let error = can_start_at(&host, "pg:17", &quiet).unwrap_err();
        assert!(error.contains("denied"), "{error}");
    }

    #[test]
    fn no_socket_no_http_and_no_image_name_are_reasons() {
        let quiet = |_: &str| ();
        for host in [
            "unix:///nowhere.sock",
            "tcp://127.0.0.1:1",
            "ssh://host",
            "",
            "npipe:////./pipe/x",
        ] {
            let error = can_start_at(host, "pg:17", &quiet).unwrap_err();
            assert!(error.contains("no Docker engine"), "{host}: {error}");
        }
        let (host, _) = engine(vec!["220 mail\r\n"]);
        assert!(can_start_at(&host, "pg:17", &quiet).is_err());
        let error = can_start_at(&host, "pg HTTP/1.0\r\n", &quiet).unwrap_err();
        assert!(error.contains("no name of an image"), "{error}");
    }

    #[test]
    fn an_image_gets_a_tag_and_a_registrys_port_is_none() {
        for (given, wanted) in [
            ("postgres:17", "postgres:17"),
            ("postgres", "postgres:latest"),
            ("host:5000/pg", "host:5000/pg:latest"),
            ("host:5000/pg:17", "host:5000/pg:17"),
            ("pg@sha256:ab", "pg@sha256:ab"),
        ] {
            assert_eq!(tagged(given), wanted);
        }
    }

    #[test]
    fn the_engine_is_the_environments_else_the_first_socket() {
        let here = std::env::temp_dir();
        let sockets = || [here.join("automc-absent"), here.clone()];
        let given = Some("tcp://engine:2375".to_owned());
        assert_eq!(engine_host(given, sockets()), "tcp://engine:2375");
        let wanted = format!("unix://{}", here.display());
        assert_eq!(engine_host(None, sockets()), wanted);
        assert_eq!(engine_host(None, []), "unix:///var/run/docker.sock");
    }
}
