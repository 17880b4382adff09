//! As much HTTP as tests need: one request of a client, and a server with fixed answers.

use crate::{Error, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Sends `GET path` and gives status and body.
///
/// # Errors
/// No connection, or no proper answer within 10 s.
pub fn get(port: u16, path: &str) -> Result<(u16, String)> {
    let reading = || Error::io(format!("GET {path}"));
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let limit = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&address, limit).map_err(reading())?;
    stream.set_read_timeout(Some(limit)).map_err(reading())?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
    )
    .map_err(reading())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(reading())?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| Error::Answer(format!("no HTTP answer to GET {path}")))?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| Error::Answer(format!("no HTTP status in {head:?}")))?;
    Ok((status, body.to_owned()))
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
                if let Ok(request) = serve(stream, &answer)
                    && sender.send(request).is_err()
                {
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

    /// All requests since the last call.
    pub fn received(&self) -> Vec<Received> {
        self.received.try_iter().collect()
    }
}

fn serve(
    stream: TcpStream,
    answer: &impl Fn(&Received) -> (u16, String),
) -> std::io::Result<Received> {
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
    let (status, text) = answer(&request);
    let mut stream = reader.into_inner();
    write!(
        stream,
        "HTTP/1.1 {status} OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    )?;
    Ok(request)
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
        assert_eq!(server.received().len(), 1);
    }
}
