//! What metrics want to know of an answer.

use telemetry::metrics::Origin;
use wire::api::{ApiKey, Direction};
use wire::error_code;
use wire::plan::{Interest, Plans};
use wire::schema::Entity;
use wire::walk::{Field, Value, Visitor};

/// Answers of more bytes stream through, and are not looked into.
pub(super) const MAX: usize = 64 * 1024;

static PLANS: Plans = Plans::new(Interest::of(&[Entity::ErrorCode, Entity::ThrottleTime]));

/// What an answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The first error code that is not 0.
    pub(super) error: Option<i16>,
    pub(super) throttle_ms: u32,
}

impl Seen {
    /// Whose error it is if the gateway has said so.
    pub(super) fn own_origin(&self) -> Origin {
        match self.error {
            Some(
                error_code::TOPIC_AUTHORIZATION_FAILED
                | error_code::GROUP_AUTHORIZATION_FAILED
                | error_code::CLUSTER_AUTHORIZATION_FAILED
                | error_code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            ) => Origin::Authorization,
            _ => Origin::Gateway,
        }
    }
}

/// Looks into an answer without its length prefix. One that is malformed says what it says until there; it is refused elsewhere.
pub(super) fn look(api: ApiKey, version: i16, answer: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let header = wire::header::response_header_len(api, version, answer);
    let body = header.ok().and_then(|header| answer.get(header..));
    // A version that is not known is answered in version 0 (KIP-511).
    let plan = |version| PLANS.get(api, version, Direction::Response);
    if let (Some(body), Some(plan)) = (body, plan(version).or_else(|| plan(0))) {
        let _ = plan.visit(body, &mut seen);
    }
    seen
}

impl Visitor for Seen {
    fn field(&mut self, field: &Field<'_>) {
        let Value::Int(value) = field.value else {
            return;
        };
        if value == 0 {
            return;
        }
        match field.entity {
            Entity::ThrottleTime => self.throttle_ms = u32::try_from(value).unwrap_or(0),
            _ if self.error.is_none() => self.error = i16::try_from(value).ok(),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_at_any_level() {
        let fine = look(ApiKey::HEARTBEAT, 1, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fine, Seen::default());
        let seen = look(ApiKey::HEARTBEAT, 1, &[0, 0, 0, 1, 0, 0, 0, 9, 0, 25]);
        let expected = Seen {
            error: Some(25),
            throttle_ms: 9,
        };
        assert_eq!(seen, expected);
        // One topic without a name, one partition: index, error.
        let delete = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1, b't', 0, 3];
        assert_eq!(look(ApiKey::DELETE_TOPICS, 1, &delete).error, Some(3));
        assert_eq!(
            look(ApiKey::DELETE_TOPICS, 1, &delete[..9]),
            Seen::default()
        );
        assert_eq!(look(ApiKey(1000), 0, &delete), Seen::default());
        let unsupported = [0, 0, 0, 1, 0, 35, 0, 0, 0, 0];
        assert_eq!(look(ApiKey::API_VERSIONS, 99, &unsupported).error, Some(35));
    }

    #[test]
    fn denials_are_told_apart() {
        let seen = |error| Seen {
            error: Some(error),
            throttle_ms: 0,
        };
        assert_eq!(seen(29).own_origin(), Origin::Authorization);
        assert_eq!(seen(35).own_origin(), Origin::Gateway);
    }
}
