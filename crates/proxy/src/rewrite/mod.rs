//! Answers in the gateway's own addresses: hosts and ports of brokers become those of the listener.
//!
//! One rewriter serves every answer that carries addresses. It works on entities ("node id", "host", "port"), not on
//! messages, so a new version of a message needs a new table and no code here. A broker without a port of its own (its
//! id is beyond the range) is left out the way Kafka leaves out a broker without a matching
//! listener: that takes a second, slower walk that hardly ever runs.

mod configs;
mod hide;
mod tail;

use std::borrow::Cow;

use wire::api::{ApiKey, Direction};
use wire::plan::{Interest, Plan, Plans};
use wire::rewrite::{Edits, Rewrite, Segments};
use wire::schema::{Entity, FieldSpec};
use wire::walk::{Field, Value, WalkError};

use crate::addressing::Addressing;
use crate::cluster::ClusterView;
use crate::gateway::ListenerState;

pub(crate) use tail::{MAX_TAIL, Tail};

/// Length prefix, correlation id and the tagged fields of a response header, of which brokers send none.
pub(crate) const MAX_ANSWER_HEADER: usize = 64;

/// What is rewritten.
pub(crate) const ADDRESS_ENTITIES: Interest = Interest::of(&[
    Entity::NodeId,
    Entity::Host,
    Entity::Port,
    Entity::InternalHost,
]);

static ADDRESSES: Plans = Plans::new(ADDRESS_ENTITIES);

/// Whether answers of `api` carry addresses only when a leader has moved (KIP-951).
pub(crate) fn is_rare(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::PRODUCE | ApiKey::FETCH | ApiKey::SHARE_FETCH | ApiKey::SHARE_ACKNOWLEDGE
    )
}

/// What a rewrite needs to know.
#[derive(Clone, Copy)]
pub(crate) struct Context<'c> {
    /// The addresses of the listener that the client came in on.
    pub(crate) addressing: &'c Addressing,
    pub(crate) listener: &'c ListenerState,
    pub(crate) view: &'c ClusterView,
}

/// The plan that finds the addresses in answers of `api`.
pub(crate) fn addresses(api: ApiKey, version: i16) -> Option<&'static Plan> {
    ADDRESSES.get(api, version, Direction::Response)
}

/// Rewrites the body of an answer. `None`: its length has not changed, `body` itself is the result.
pub(crate) fn rewrite(
    api: ApiKey,
    version: i16,
    body: &mut [u8],
    context: &Context<'_>,
) -> Result<Option<Vec<u8>>, WalkError> {
    if api == ApiKey::DESCRIBE_CONFIGS {
        return configs::mask(version, body);
    }
    let Some(plan) = addresses(api, version) else {
        return Ok(None);
    };
    let mut unroutable = Vec::new();
    let mut rewriter = Addresses::new(api, context, &mut unroutable);
    let mut out = Segments::new();
    // Ports are patched in place, so a body that has to be looked at once more is walked before.
    plan.rewrite(body, &mut rewriter, &mut out)?;
    drop(rewriter);
    let result = (!out.is_identity()).then(|| out.to_vec(body));
    if unroutable.is_empty() {
        return Ok(result);
    }
    let mut body = result.unwrap_or_else(|| body.to_vec());
    let hidden = hide::hide(api, version, &mut body, &unroutable)?;
    Ok(Some(hidden.unwrap_or(body)))
}

/// Puts the listener's addresses in place of the brokers'.
struct Addresses<'a, 'c> {
    context: &'a Context<'c>,
    /// Metadata shows the brokers' real addresses: worth comparing with what we know.
    compare: bool,
    news: bool,
    node: i32,
    drop: bool,
    unroutable: &'a mut Vec<i32>,
}

impl<'a, 'c> Addresses<'a, 'c> {
    fn new(api: ApiKey, context: &'a Context<'c>, unroutable: &'a mut Vec<i32>) -> Self {
        Addresses {
            context,
            compare: api == ApiKey::METADATA,
            news: false,
            node: -1,
            drop: false,
            unroutable,
        }
    }

    fn address(&self) -> Option<(Cow<'c, str>, u16)> {
        self.context.addressing.address(self.node)
    }
}

impl Rewrite for Addresses<'_, '_> {
    fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
        match (field.entity, field.value) {
            (Entity::NodeId, Value::Int(id)) => {
                self.node = i32::try_from(id).unwrap_or(-1);
                // -1: no coordinator, no controller; there is no address with it.
                if self.node >= 0 && self.address().is_none() {
                    self.context.listener.unroutable(self.node);
                    self.unroutable.push(self.node);
                }
            }
            (Entity::Host, Value::Text(host)) => {
                if self.compare
                    && !self
                        .context
                        .view
                        .knows_host(self.node, host.unwrap_or_default())
                {
                    self.news = true;
                }
                if let Some((host, _)) = self.address() {
                    edits.set_text(Some(host.as_bytes()));
                } else if self.node >= 0 {
                    edits.set_text(Some(b"")); // a real address leaves in no case
                }
            }
            (Entity::Port, Value::Int(port)) => {
                if self.compare && !self.context.view.knows_port(self.node, port) {
                    self.news = true;
                }
                if let Some((_, port)) = self.address() {
                    edits.set_int(field.pos, PORT_WIDTH, port.into());
                } else if self.node >= 0 {
                    edits.set_int(field.pos, PORT_WIDTH, -1);
                }
            }
            // Controllers are not reachable through the gateway.
            (Entity::InternalHost, _) => self.drop = true,
            _ => {}
        }
    }

    fn leave(&mut self, _spec: &'static FieldSpec, _pos: usize, edits: &mut Edits<'_>) {
        if std::mem::take(&mut self.drop) {
            edits.drop_element();
        }
    }
}

impl Drop for Addresses<'_, '_> {
    fn drop(&mut self) {
        if self.news {
            self.context.view.want_refresh();
        }
    }
}

/// Ports are int32 in every answer, bytes.
const PORT_WIDTH: u8 = 4;
