//! Answers that the gateway gives itself.

use bytes::{BufMut, Bytes, BytesMut};
use wire::api::ApiKey;
use wire::error_code::{INVALID_REQUEST, UNSUPPORTED_VERSION};
use wire::walk::WalkError;

use crate::cluster::Offered;
use crate::peek;

/// The ApiVersions answer, a whole frame. An unknown version is answered in version 0 with error 35 and the versions
/// that may be asked for (KIP-511).
pub(super) fn api_versions(
    offered: &Offered,
    version: i16,
    correlation_id: i32,
    body: &[u8],
) -> Result<Bytes, WalkError> {
    let api = ApiKey::API_VERSIONS;
    if !api.spec().is_some_and(|spec| spec.has_version(version)) {
        return Ok(frame(api, 0, correlation_id, &unsupported_api_versions()));
    }
    peek::check(api, version, body)?;
    if version >= 3 && !names_its_software(body) {
        let body = wire::build::error_response(api, version, INVALID_REQUEST).unwrap_or_default();
        return Ok(frame(api, version, correlation_id, &body));
    }
    Ok(frame(
        api,
        version,
        correlation_id,
        &offered.answer(version),
    ))
}

fn unsupported_api_versions() -> Vec<u8> {
    let (min, max) = ApiKey::API_VERSIONS
        .spec()
        .map_or((0, 0), |spec| (spec.min_version, spec.max_version));
    let mut body = Vec::with_capacity(12);
    body.put_i16(UNSUPPORTED_VERSION);
    body.put_i32(1);
    body.put_i16(ApiKey::API_VERSIONS.0);
    body.put_i16(min);
    body.put_i16(max);
    body
}

/// Whether client software name and version have the form that brokers insist on (KIP-511). The body has been walked:
/// two compact strings are at its beginning.
fn names_its_software(body: &[u8]) -> bool {
    let Some((name, rest)) = short_string(body) else {
        return false;
    };
    let Some((version, _)) = short_string(rest) else {
        return false;
    };
    [name, version].into_iter().all(|word| {
        let plain = |b: &u8| b.is_ascii_alphanumeric();
        word.first().is_some_and(plain)
            && word.last().is_some_and(plain)
            && word.iter().all(|b| plain(b) || matches!(b, b'-' | b'.'))
    })
}

fn short_string(mut bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = wire::varint::take(&mut bytes)?.checked_sub(1)?;
    bytes.split_at_checked(usize::try_from(length).ok()?)
}

/// Bytes behind their length: a frame, or a token of SaslHandshake v0 style.
pub(super) fn prefixed(bytes: &[u8]) -> Bytes {
    let mut whole = BytesMut::with_capacity(4 + bytes.len());
    whole.put_u32(u32::try_from(bytes.len()).unwrap_or(0));
    whole.put_slice(bytes);
    whole.freeze()
}

/// An answer that says `error`; `None` if the answer of this API has no place for it.
pub(super) fn error(api: ApiKey, version: i16, correlation_id: i32, error: i16) -> Option<Bytes> {
    let body = wire::build::error_response(api, version, error)?;
    Some(frame(api, version, correlation_id, &body))
}

pub(super) fn frame(api: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Bytes {
    let flexible = wire::header::response_header_version(api, version) >= 1;
    let size = 4 + usize::from(flexible) + body.len();
    let mut frame = BytesMut::with_capacity(4 + size);
    frame.put_u32(u32::try_from(size).unwrap_or(u32::MAX));
    frame.put_i32(correlation_id);
    if flexible {
        frame.put_u8(0); // no tagged fields
    }
    frame.put_slice(body);
    frame.freeze()
}
