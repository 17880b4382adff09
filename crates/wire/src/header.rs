//! Request and response headers: the bytes between the length prefix of a frame and its body (KIP-482).

use crate::api::{ApiKey, Direction};
use crate::cursor::Cursor;
use crate::walk::WalkError;

/// A header longer than this is malformed. The client id takes at most 32 KiB; tagged fields are not known to be used by anybody.
pub const MAX_HEADER_LEN: usize = 64 * 1024;

/// A parsed request header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader<'a> {
    /// API key; the table knows it.
    pub api: ApiKey,
    /// Version; the table knows it.
    pub version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// Name the client gives itself; not necessarily UTF-8.
    pub client_id: Option<&'a [u8]>,
    /// Bytes of the header, tagged fields included: the body begins here.
    pub len: usize,
}

impl<'a> RequestHeader<'a> {
    /// Parses the header at the beginning of `bytes`, which may hold more than the header, or not yet all of it.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, HeaderError> {
        let mut cursor = Cursor::new(&bytes[..bytes.len().min(MAX_HEADER_LEN)]);
        let correlation_id = bytes
            .get(4..8)
            .and_then(|id| id.first_chunk())
            .map(|id| i32::from_be_bytes(*id));
        let mut parse = || {
            let api = ApiKey(i16::from_be_bytes(cursor.array()?));
            let Some(spec) = api.spec() else {
                return Err(HeaderError::UnknownApi {
                    api: api.0,
                    correlation_id,
                });
            };
            let version = i16::from_be_bytes(cursor.array()?);
            if !spec.has_version(version) {
                return Err(HeaderError::UnsupportedVersion {
                    api,
                    version,
                    correlation_id,
                });
            }
            let correlation_id = i32::from_be_bytes(cursor.array()?);
            // The client id never is compact, so that any broker can read the header of an ApiVersions request of the future.
            let client_id = match i16::from_be_bytes(cursor.array()?) {
                -1 => None,
                len => Some(cursor.take(
                    usize::try_from(len).map_err(|_| HeaderError::Malformed { offset: 8 })?,
                )?),
            };
            if request_header_version(api, version) >= 2 {
                skip_tags(&mut cursor)?;
            }
            Ok(RequestHeader {
                api,
                version,
                correlation_id,
                client_id,
                len: cursor.pos,
            })
        };
        parse().map_err(|error| limited(error, bytes.len()))
    }
}

/// Why there is no header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// More bytes may make it a header.
    #[error("header is not complete")]
    Incomplete,
    /// The table has no such API.
    #[error("unknown API key {api}")]
    UnknownApi {
        /// The key.
        api: i16,
        /// If its bytes are there.
        correlation_id: Option<i32>,
    },
    /// The table has no such version. For ApiVersions the broker answers in version 0 with error 35 (KIP-511).
    #[error("unsupported version {version} of {api}")]
    UnsupportedVersion {
        /// The key.
        api: ApiKey,
        /// The version.
        version: i16,
        /// If its bytes are there.
        correlation_id: Option<i32>,
    },
    /// No bytes can make it a header.
    #[error("malformed header at byte {offset}")]
    Malformed {
        /// Bytes from the beginning of the header.
        offset: usize,
    },
}

impl From<WalkError> for HeaderError {
    fn from(error: WalkError) -> HeaderError {
        match error {
            WalkError::Truncated { .. } => HeaderError::Incomplete,
            WalkError::BadVarint { offset } => HeaderError::Malformed { offset },
            _ => HeaderError::Malformed { offset: 0 },
        }
    }
}

/// 1, or 2 with tagged fields for flexible versions. The table must know the message; otherwise 1.
pub fn request_header_version(api: ApiKey, version: i16) -> i16 {
    let flexible = api
        .spec()
        .is_some_and(|spec| spec.is_flexible(Direction::Request, version));
    if flexible { 2 } else { 1 }
}

/// 0, or 1 with tagged fields for flexible versions; always 0 for ApiVersions, whose client does not know yet what the broker speaks.
pub fn response_header_version(api: ApiKey, version: i16) -> i16 {
    let flexible = api
        .spec()
        .is_some_and(|spec| spec.is_flexible(Direction::Response, version));
    if flexible && api != ApiKey::API_VERSIONS {
        1
    } else {
        0
    }
}

/// Bytes of the response header at the beginning of `bytes`: correlation id, and tagged fields in header version 1.
pub fn response_header_len(api: ApiKey, version: i16, bytes: &[u8]) -> Result<usize, HeaderError> {
    let mut cursor = Cursor::new(&bytes[..bytes.len().min(MAX_HEADER_LEN)]);
    let mut parse = || {
        cursor.advance(4)?;
        if response_header_version(api, version) >= 1 {
            skip_tags(&mut cursor)?;
        }
        Ok(cursor.pos)
    };
    parse().map_err(|error| limited(error, bytes.len()))
}

fn skip_tags(cursor: &mut Cursor<'_>) -> Result<(), HeaderError> {
    for _ in 0..cursor.varint()? {
        cursor.varint()?;
        let size = cursor.varint()?;
        cursor.advance(size as usize)?;
    }
    Ok(())
}

/// A header that is not complete at the limit never will be.
fn limited(error: HeaderError, len: usize) -> HeaderError {
    match error {
        HeaderError::Incomplete if len >= MAX_HEADER_LEN => HeaderError::Malformed {
            offset: MAX_HEADER_LEN,
        },
        error => error,
    }
}

#[cfg(test)]
mod tests {
    use super::{
        HeaderError, MAX_HEADER_LEN, RequestHeader, request_header_version, response_header_len,
        response_header_version,
    };
    use crate::api::ApiKey;

    const V1: &[u8] = &[0, 3, 0, 8, 0, 0, 0, 7, 0, 2, b'm', b'e'];

    #[test]
    fn version_1_has_no_tags() {
        let header = RequestHeader::parse(&[V1, &[1, 2, 3]].concat())
            .unwrap()
            .len;
        assert_eq!(header, V1.len());
        let header = RequestHeader::parse(V1).unwrap();
        assert_eq!(
            (header.api, header.version, header.correlation_id),
            (ApiKey::METADATA, 8, 7)
        );
        assert_eq!(header.client_id, Some(&b"me"[..]));
    }

    #[test]
    fn version_2_has_a_plain_client_id_and_tags() {
        let bytes = [0, 3, 0, 9, 0, 0, 0, 7, 0xff, 0xff, 2, 0, 1, 9, 5, 0, 77];
        let header = RequestHeader::parse(&bytes).unwrap();
        assert_eq!(header.client_id, None);
        assert_eq!(header.len, bytes.len() - 1);
        assert_eq!(request_header_version(ApiKey::METADATA, 9), 2);
    }

    #[test]
    fn every_prefix_is_incomplete() {
        let v2 = [0, 3, 0, 9, 0, 0, 0, 7, 0, 1, b'x', 2, 0, 1, 9, 5, 0];
        for len in 0..v2.len() {
            assert_eq!(
                RequestHeader::parse(&v2[..len]),
                Err(HeaderError::Incomplete),
                "{len}"
            );
        }
        assert!(RequestHeader::parse(&v2).is_ok());
    }

    #[test]
    fn what_the_table_does_not_know_keeps_the_correlation_id() {
        let unknown = RequestHeader::parse(&[3, 0, 0, 9, 0, 0, 0, 7]);
        assert_eq!(
            unknown,
            Err(HeaderError::UnknownApi {
                api: 768,
                correlation_id: Some(7)
            })
        );
        let removed = RequestHeader::parse(&[0, 4, 0]);
        assert_eq!(
            removed,
            Err(HeaderError::UnknownApi {
                api: 4,
                correlation_id: None
            })
        );
        let version = RequestHeader::parse(&[0, 18, 0, 99, 0, 0, 0, 8]);
        let expected = HeaderError::UnsupportedVersion {
            api: ApiKey::API_VERSIONS,
            version: 99,
            correlation_id: Some(8),
        };
        assert_eq!(version, Err(expected));
    }

    #[test]
    fn nonsense_is_malformed() {
        let mut negative = V1.to_vec();
        negative[8] = 0x80;
        assert_eq!(
            RequestHeader::parse(&negative),
            Err(HeaderError::Malformed { offset: 8 })
        );
        let varint = [0, 3, 0, 9, 0, 0, 0, 7, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            RequestHeader::parse(&varint),
            Err(HeaderError::Malformed { offset: 10 })
        );
        let mut endless = vec![0, 3, 0, 9, 0, 0, 0, 7, 0, 0, 1, 0, 0xff, 0xff, 0xff, 0x7f];
        assert_eq!(RequestHeader::parse(&endless), Err(HeaderError::Incomplete));
        endless.resize(MAX_HEADER_LEN, 0);
        assert_eq!(
            RequestHeader::parse(&endless),
            Err(HeaderError::Malformed {
                offset: MAX_HEADER_LEN
            })
        );
    }

    #[test]
    fn response_headers() {
        assert_eq!(response_header_version(ApiKey::METADATA, 8), 0);
        assert_eq!(response_header_version(ApiKey::METADATA, 9), 1);
        assert_eq!(response_header_version(ApiKey::API_VERSIONS, 4), 0);
        assert_eq!(
            response_header_len(ApiKey::METADATA, 8, &[0, 0, 0, 1, 9]),
            Ok(4)
        );
        assert_eq!(
            response_header_len(ApiKey::METADATA, 9, &[0, 0, 0, 1, 1, 0, 1, 9]),
            Ok(8)
        );
        assert_eq!(
            response_header_len(ApiKey::METADATA, 9, &[0, 0, 0, 1]),
            Err(HeaderError::Incomplete)
        );
        assert_eq!(
            response_header_len(ApiKey::API_VERSIONS, 4, &[0, 0, 0, 1, 9]),
            Ok(4)
        );
    }
}
