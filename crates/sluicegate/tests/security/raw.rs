//! A client that speaks SASL frame by frame.

use std::time::{Duration, Instant};

use testkit::raw::{RawClient, Request};
use testkit::{Error, Result};

const METADATA: i16 = 3;
const HANDSHAKE: i16 = 17;
const AUTHENTICATE: i16 = 36;

pub(crate) struct Sasl(pub(crate) RawClient);

/// The answer to SaslAuthenticate.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) error: i16,
    pub(crate) message: String,
    pub(crate) bytes: Vec<u8>,
    /// 0 where the version has none.
    pub(crate) lifetime: Duration,
}

/// The message of PLAIN.
pub(crate) fn plain(user: &str, password: &str) -> Vec<u8> {
    format!("\0{user}\0{password}").into_bytes()
}

/// The first message of OAUTHBEARER (RFC 7628).
pub(crate) fn bearer(token: &str) -> Vec<u8> {
    format!("n,,\x01auth=Bearer {token}\x01\x01").into_bytes()
}

impl Sasl {
    pub(crate) fn connect(address: &str) -> Result<Sasl> {
        RawClient::connect(address).map(Sasl)
    }

    /// SaslHandshake; the error code and the mechanisms of the answer.
    pub(crate) fn handshake(
        &mut self,
        version: i16,
        mechanism: &str,
    ) -> Result<(i16, Vec<String>)> {
        let mut body = Vec::new();
        put_text(&mut body, mechanism);
        let answer = self.0.call(request(HANDSHAKE, version, &body))?;
        let mut reader = Reader(&answer);
        reader
            .handshake()
            .ok_or_else(|| Error::Answer(format!("cut SaslHandshake answer {answer:?}")))
    }

    /// SaslAuthenticate of version 0 or 1.
    pub(crate) fn authenticate(&mut self, version: i16, message: &[u8]) -> Result<Answer> {
        let mut body = Vec::new();
        put_bytes(&mut body, message);
        let answer = self.0.call(request(AUTHENTICATE, version, &body))?;
        Reader(&answer)
            .answer(version)
            .ok_or_else(|| Error::Answer(format!("cut SaslAuthenticate answer {answer:?}")))
    }

    /// The whole exchange of a mechanism with one message, versions 1.
    pub(crate) fn log_in(&mut self, mechanism: &str, message: &[u8]) -> Result<Answer> {
        let (error, _) = self.handshake(1, mechanism)?;
        assert_eq!(error, 0, "{mechanism}");
        self.authenticate(1, message)
    }

    /// Asks for no topics; an error if the connection is closed.
    pub(crate) fn ask(&mut self) -> Result<()> {
        self.0.call(request(METADATA, 1, &[0; 4])).map(drop)
    }

    /// Sends a request; true if the connection is closed instead of an answer.
    pub(crate) fn is_closed_when_asking(&mut self) -> bool {
        self.ask().is_err()
    }

    /// True if the peer closes within some seconds, unasked.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.0.is_closed_by_peer()
    }
}

/// Calls `act` and tells how long it took.
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begin = Instant::now();
    let value = act();
    (value, begin.elapsed())
}

pub(crate) fn request(api: i16, version: i16, body: &[u8]) -> Request<'_> {
    Request {
        api,
        version,
        flexible: false,
        client_id: "raw",
        body,
    }
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    let length = i16::try_from(text.len()).expect("a short text");
    body.extend(length.to_be_bytes());
    body.extend(text.as_bytes());
}

pub(crate) fn put_bytes(body: &mut Vec<u8>, bytes: &[u8]) {
    let length = i32::try_from(bytes.len()).expect("a short message");
    body.extend(length.to_be_bytes());
    body.extend(bytes);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn handshake(&mut self) -> Option<(i16, Vec<String>)> {
        let error = i16::from_be_bytes(self.take()?);
        let count = i32::from_be_bytes(self.take()?);
        let mechanisms: Option<_> = (0..count).map(|_| self.text()).collect();
        Some((error, mechanisms?))
    }

    fn answer(&mut self, version: i16) -> Option<Answer> {
        Some(Answer {
            error: i16::from_be_bytes(self.take()?),
            message: self.text()?,
            bytes: {
                let length = i32::from_be_bytes(self.take()?);
                self.bytes(usize::try_from(length).unwrap_or(0))?.to_vec()
            },
            lifetime: match version {
                0 => Duration::ZERO,
                _ => {
                    let millis = i64::from_be_bytes(self.take()?);
                    Duration::from_millis(u64::try_from(millis).ok()?)
                }
            },
        })
    }

    /// A string; null reads as empty.
    fn text(&mut self) -> Option<String> {
        let length = i16::from_be_bytes(self.take()?);
        let bytes = self.bytes(usize::try_from(length).unwrap_or(0))?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn bytes(&mut self, length: usize) -> Option<&[u8]> {
        let (head, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(head)
    }
}
