//! Leaving out brokers that have no port of their own.
//!
//! Clients see what they would see of a Kafka broker without a matching listener: it is missing from the broker list,
//! partitions that it leads have an error and no leader, and it coordinates nothing for the moment.

use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plans};
use wire::rewrite::{Edits, Rewrite, Segments};
use wire::schema::{Entity, FieldSpec};
use wire::walk::{Field, Value, WalkError};

const LEADER_NOT_AVAILABLE: i64 = 5;
const COORDINATOR_NOT_AVAILABLE: i64 = 15;
const LISTENER_NOT_FOUND: i64 = 72;

/// The first version of Metadata in which clients know [`LISTENER_NOT_FOUND`].
const METADATA_LISTENER_NOT_FOUND: i16 = 6;

static EVERYTHING: Plans = Plans::new(Interest::of(&[
    Entity::NodeId,
    Entity::BrokerId,
    Entity::ControllerId,
    Entity::ErrorCode,
    Entity::Host,
    Entity::Port,
]));

/// Takes every trace of `unroutable` brokers out of a body. `None`: done in place.
pub(super) fn hide(
    api: ApiKey,
    version: i16,
    body: &mut [u8],
    unroutable: &[i32],
) -> Result<Option<Vec<u8>>, WalkError> {
    let Some(plan) = EVERYTHING.get(api, version, Direction::Response) else {
        return Ok(None);
    };
    let mut hider = Hider {
        unroutable,
        coordinator: api == ApiKey::FIND_COORDINATOR,
        leader_error: if version >= METADATA_LISTENER_NOT_FOUND {
            LISTENER_NOT_FOUND
        } else {
            LEADER_NOT_AVAILABLE
        },
        metadata: api == ApiKey::METADATA,
        error_at: None,
        hidden: false,
        other: -1,
    };
    let mut out = Segments::new();
    plan.rewrite(body, &mut hider, &mut out)?;
    Ok((!out.is_identity()).then(|| out.to_vec(body)))
}

struct Hider<'u> {
    unroutable: &'u [i32],
    coordinator: bool,
    metadata: bool,
    leader_error: i64,
    /// Position of the error code that belongs to the struct being walked.
    error_at: Option<usize>,
    /// The node of the current struct is unroutable.
    hidden: bool,
    /// A broker that stays.
    other: i64,
}

impl Hider<'_> {
    fn is_hidden(&self, id: i64) -> bool {
        i32::try_from(id).is_ok_and(|id| self.unroutable.contains(&id))
    }

    fn set_error(&mut self, edits: &mut Edits<'_>) {
        if let (true, Some(at)) = (self.coordinator && self.hidden, self.error_at) {
            edits.set_int(at, 2, COORDINATOR_NOT_AVAILABLE);
        }
    }
}

impl Rewrite for Hider<'_> {
    fn enter(&mut self, _spec: &'static FieldSpec, _pos: usize, _edits: &mut Edits<'_>) {
        self.error_at = None;
        self.hidden = false;
    }

    fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
        let Value::Int(value) = field.value else {
            return;
        };
        match field.entity {
            Entity::ErrorCode => {
                self.error_at = Some(field.pos);
                self.set_error(edits); // the node came first (FindCoordinator v4+)
            }
            Entity::NodeId => {
                self.hidden = self.is_hidden(value);
                if !self.hidden {
                    self.other = value;
                } else if self.coordinator {
                    edits.set_int(field.pos, 4, -1);
                    self.set_error(edits); // the error code came first (v0 to v3)
                }
            }
            Entity::ControllerId if self.is_hidden(value) => {
                edits.set_int(field.pos, 4, self.other);
            }
            Entity::BrokerId if self.is_hidden(value) => match field.spec.name {
                "LeaderId" => {
                    edits.set_int(field.pos, 4, -1);
                    if let (true, Some(at)) = (self.metadata, self.error_at) {
                        edits.set_int(at, 2, self.leader_error);
                    }
                }
                "PreferredReadReplica" => edits.set_int(field.pos, 4, -1),
                _ => {} // replica lists may name brokers that are not listed
            },
            _ => {}
        }
    }

    fn leave(&mut self, _spec: &'static FieldSpec, _pos: usize, edits: &mut Edits<'_>) {
        if !self.coordinator && std::mem::take(&mut self.hidden) {
            edits.drop_element();
        }
    }
}
