//! As much HTTP as tests need: one request of a client, and a server with fixed answers.

use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// Sends `GET path` and gives status and body.
///
/// # Errors
/// No connection, or no proper answer within 30 s.
pub fn get(port: u16, path: &str) -> Result<(u16, String)> {
    Request::new("GET", path).send(port)
}

/// A request of any method, with or without credentials and body.
#[derive(Clone, Debug)]
pub struct Request {
    method: &'static str,
    path: String,
    headers: String,
    body: String,
}

impl Request {
    /// A request without credentials and body.
    pub fn new(method: &'static str, path: &str) -> Request {
        Request {
            method,
            path: path.to_owned(),
            headers: String::new(),
            body: String::new(),
        }
    }

    /// Basic credentials.
    pub fn basic(self, user: &str, password: &str) -> Request {
        let credentials = STANDARD.encode(format!("{user}:{password}"));
        self.header("Authorization", &format!("Basic {credentials}"))
    }

    /// A header line.
    pub fn header(mut self, name: &str, value: &str) -> Request {
        self.headers.push_str(&format!("{name}: {value}\r\n"));
        self
    }

    /// A JSON body.
    pub fn json(self, body: &serde_json::Value) -> Request {
        let mut request = self.header("Content-Type", "application/json");
        request.body = body.to_string();
        request
    }

    /// Sends it to a port of this machine; gives status and body.
    ///
    /// # Errors
    /// As [`get`].
    pub fn send(&self, port: u16) -> Result<(u16, String)> {
        let Request {
            method,
            path,
            headers,
            body,
        } = self;
        let sending = || Error::io(format!("{method} {path}"));
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let limit = Duration::from_secs(30);
        let mut stream = TcpStream::connect_timeout(&address, limit).map_err(sending())?;
        stream.set_read_timeout(Some(limit)).map_err(sending())?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .map_err(sending())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map_err(sending())?;
        let (head, body) = split(&answer)
            .ok_or_else(|| Error::Answer(format!("no HTTP answer to {method} {path}")))?;
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| Error::Answer(format!("no HTTP status in {head:?}")))?;
        Ok((status, body))
    }

    /// [`Request::send`], again while the answer is 503: the gateway says so, and has done nothing, if Kafka does not answer it in time, as
    /// on a machine that is busy. After a minute the 503 is the answer.
    ///
    /// # Errors
    /// As [`get`].
    pub fn send_patiently(&self, port: u16) -> Result<(u16, String)> {
        const PATIENCE: Duration = Duration::from_secs(60);
        const PAUSE: Duration = Duration::from_millis(100);
        let since = Instant::now();
        loop {
            match self.send(port)? {
                (503, _) if since.elapsed() < PATIENCE => std::thread::sleep(PAUSE),
                answer => return Ok(answer),
            }
        }
    }
}

/// Head and body of an answer; the body put together if it came in chunks.
fn split(answer: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n")?;
    if !head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        return Some((head.to_owned(), body.to_owned()));
    }
    let mut whole = String::new();
    let mut rest = body;
    loop {
        let (size, after) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some((head.to_owned(), whole));
        }
        whole.push_str(after.get(..size)?);
        rest = after.get(size..)?.strip_prefix("\r\n")?;
    }
}

/// A request as [`Server`] got it.
#[derive(Clone, Debug)]
pub struct Received {
    /// Method and path, for example `POST /token`.
    pub target: String,
    /// Header lines as they came.
    pub headers: Vec<String>,
    /// Body.
    pub body: String,
}

/// A server that gives each request to a function; it ends with the test process.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    received: Receiver<Received>,
}

impl Server {
    /// Starts it on a free loopback port. `answer` gives status and JSON body.
    ///
    /// # Errors
    /// No port could be bound.
    pub fn start(answer: impl Fn(&Received) -> (u16, String) + Send + 'static) -> Result<Server> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io("bind"))?;
        let address = listener.local_addr().map_err(Error::io("bind"))?;
        let (sender, received) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that breaks off is its own problem.
                let Ok((request, stream)) = receive(stream) else {
                    continue;
                };
                let (status, text) = answer(&request);
                // First, so that whoever has an answer finds its request here.
                let told = sender.send(request);
                let _ = reply(stream, status, &text);
                if told.is_err() {
                    return;
                }
            }
        });
        Ok(Server { address, received })
    }

    /// `http://host:port` followed by `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Takes requests and forgets them, until the server ends.
    pub fn forget_requests(&self) {
        self.received.iter().for_each(drop);
    }

    /// All requests since the last call.
    pub fn received(&self) -> Vec<Received> {
        self.received.try_iter().collect()
    }
}

/// Reads a request; gives back the stream.
fn receive(stream: TcpStream) -> std::io::Result<(Received, TcpStream)> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let mut reader = BufReader::new(stream);
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let length = lines
        .iter()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let mut lines = lines.into_iter();
    let request = Received {
        target: lines
            .next()
            .and_then(|line| line.rsplit_once(' ').map(|(target, _)| target.to_owned()))
            .unwrap_or_default(),
        headers: lines.collect(),
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    Ok((request, reader.into_inner()))
}

fn reply(mut stream: TcpStream, status: u16, text: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn client_and_server_agree() {
        let server = Server::start(|request| (404, format!("{{\"was\":\"{}\"}}", request.target)));
        let server = server.unwrap();
        let (status, body) = get(server.address.port(), "/x?y=1").unwrap();
        assert_eq!((status, body.as_str()), (404, r#"{"was":"GET /x?y=1"}"#));
        let request = Request::new("PUT", "/y").basic("me", "secret");
        let request = request.json(&serde_json::json!({"a": [1, 2]}));
        assert_eq!(request.send(server.address.port()).unwrap().0, 404);
        let received = server.received();
        assert_eq!(received.len(), 2);
        assert_eq!(received[1].body, r#"{"a":[1,2]}"#);
        assert!(
            received[1]
                .headers
                .contains(&"Authorization: Basic bWU6c2VjcmV0".to_owned())
        );
    }

    #[test]
    fn chunks_are_put_together() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        assert_eq!(split(answer).unwrap().1, "abcde");
    }
}
