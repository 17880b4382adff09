//! What metrics want to know of an answer, and whether there is anything in it to rewrite.

use telemetry::metrics::Origin;
use wire::api::{ApiKey, Direction};
use wire::error_code;
use wire::plan::{Interest, Plans};
use wire::schema::Entity;
use wire::walk::{Field, Value, Visitor};

use crate::rewrite;

/// Answers of more bytes stream through, and are not looked into.
pub(super) const MAX: usize = 64 * 1024;

/// The time that an answer throttles for comes within so many bytes after the length prefix, if it comes before the first list.
pub(super) const BEGINNING: usize = 64;

static PLANS: Plans = Plans::new(Interest::of(&[Entity::ErrorCode, Entity::ThrottleTime]));

/// For answers that hardly ever carry addresses: one walk tells whether there are any, too.
static WITH_ADDRESSES: Plans = Plans::new(
    Interest::of(&[Entity::ErrorCode, Entity::ThrottleTime]).and(rewrite::ADDRESS_ENTITIES),
);

static THROTTLE: Plans = Plans::new(Interest::of(&[Entity::ThrottleTime]));

/// What an answer says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// The first error code that is not 0.
    pub(super) error: Option<i16>,
    pub(super) throttle_ms: u32,
    /// It was walked to its end, and there is no address in it. Looked for only where addresses [are rare](rewrite::is_rare).
    pub(super) has_no_address: bool,
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
    match rewrite::is_rare(api) {
        true => visit(&WITH_ADDRESSES, api, version, answer),
        false => visit(&PLANS, api, version, answer),
    }
}

/// Looks for a throttle time alone, in an answer or in its beginning, without length prefix.
pub(super) fn throttle(api: ApiKey, version: i16, answer: &[u8]) -> Seen {
    visit(&THROTTLE, api, version, answer)
}

fn visit(plans: &Plans, api: ApiKey, version: i16, answer: &[u8]) -> Seen {
    let mut looking = Looking::default();
    let header = wire::header::response_header_len(api, version, answer);
    let body = header.ok().and_then(|header| answer.get(header..));
    // A version that is not known is answered in version 0 (KIP-511).
    let plan = |version| plans.get(api, version, Direction::Response);
    if let (Some(body), Some(plan)) = (body, plan(version).or_else(|| plan(0))) {
        let is_whole = plan.visit(body, &mut looking).is_ok();
        let has_looked = plan.interest().contains(Entity::Host) && plan.version() == version;
        looking.seen.has_no_address = has_looked && is_whole && !looking.addresses;
    }
    looking.seen
}

/// A look at work.
#[derive(Default)]
struct Looking {
    seen: Seen,
    addresses: bool,
}

impl Visitor for Looking {
    #[inline]
    fn field(&mut self, field: &Field<'_>) {
        let seen = &mut self.seen;
        match (field.entity, field.value) {
            (Entity::ErrorCode | Entity::ThrottleTime, Value::Int(0)) => {}
            (Entity::ThrottleTime, Value::Int(value)) => {
                seen.throttle_ms = u32::try_from(value).unwrap_or(0);
            }
            (Entity::ErrorCode, Value::Int(value)) => {
                seen.error = seen.error.or(i16::try_from(value).ok());
            }
            _ => self.addresses = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use wire::schema::FieldSpec;

    use super::*;

    #[test]
    fn errors_at_any_level() {
        let fine = look(ApiKey::HEARTBEAT, 1, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(fine, Seen::default());
        let seen = look(ApiKey::HEARTBEAT, 1, &[0, 0, 0, 1, 0, 0, 0, 9, 0, 25]);
        let expected = Seen {
            error: Some(25),
            throttle_ms: 9,
            has_no_address: false,
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
    fn addresses_are_noticed() {
        // Produce v10: no topics, not throttled, no tagged fields.
        let produce = [0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0];
        assert!(look(ApiKey::PRODUCE, 10, &produce).has_no_address);
        // One tagged field: a node, host and port.
        let mut with_node = produce.to_vec();
        with_node.pop();
        with_node.extend([1, 0, 11, 2, 0, 0, 0, 7, 2, b'h', 0, 0, 0, 9, 1, 0]);
        let expected = Seen::default();
        assert_eq!(look(ApiKey::PRODUCE, 10, &with_node), expected);
        // What is cut off, or goes on behind its end, is for others to refuse.
        let (cut, long) = (&produce[..10], [&produce[..], &[0]].concat());
        assert!(!look(ApiKey::PRODUCE, 10, cut).has_no_address);
        assert!(!look(ApiKey::PRODUCE, 10, &long).has_no_address);
        // Others are not asked for it.
        assert!(!look(ApiKey::HEARTBEAT, 1, &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]).has_no_address);
    }

    #[test]
    fn the_beginning_tells_of_a_throttle() {
        // Fetch v12: correlation id, no tagged fields, throttle time, an error, session, a list that is cut off.
        let fetch = [0, 0, 0, 1, 0, 0, 0, 0, 7, 0, 3, 0, 0, 0, 9, 0x7f, 1];
        let expected = Seen {
            error: None,
            throttle_ms: 7,
            has_no_address: false,
        };
        assert_eq!(throttle(ApiKey::FETCH, 12, &fetch), expected);
        assert_eq!(throttle(ApiKey::FETCH, 12, &fetch[..7]), Seen::default());
        // Produce: after the list.
        let produce = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
        assert_eq!(throttle(ApiKey::PRODUCE, 3, &produce).throttle_ms, 9);
    }

    /// Only then is [`BEGINNING`] enough for answers that are not held as a whole.
    #[test]
    fn throttle_times_come_before_the_first_list() {
        for api in ApiKey::all().filter(|api| *api != ApiKey::PRODUCE) {
            let fields = api.spec().expect("it is in the table").response.fields;
            let place = |wanted: fn(&FieldSpec) -> bool| fields.iter().position(wanted);
            let throttle = place(|field| field.entity == Entity::ThrottleTime);
            let list = place(|field| field.array);
            if let (Some(throttle), Some(list)) = (throttle, list) {
                // The one is a small answer of the gateway itself, the other is not offered.
                let is_apart = ["ApiVersions", "DescribeDelegationToken"].contains(&api.name());
                assert!(throttle < list || is_apart, "{}", api.name());
            }
        }
    }

    #[test]
    fn denials_are_told_apart() {
        let seen = |error| Seen {
            error: Some(error),
            ..Seen::default()
        };
        assert_eq!(seen(29).own_origin(), Origin::Authorization);
        assert_eq!(seen(35).own_origin(), Origin::Gateway);
    }
}
