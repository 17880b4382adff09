//! Names of topics by their ids (KIP-516): what access control needs to know of requests that carry ids only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use authorization::TopicNames;
use bytes::BytesMut;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};
use kafka_protocol::protocol::{Decodable, Encodable};
use state::{Call, Node, Transport, TransportError};
use tokio::sync::Mutex;
use uuid::Uuid;
use wire::api::{ApiKey, Direction};

use crate::upstream::client::Client;

/// The first version of Metadata that can be asked by id, and the highest that the typed codec knows.
const BY_ID: i16 = 12;
const NEWEST: i16 = 12;

/// Topics are created and deleted; an id is never used twice. Beyond this many names everything is asked anew.
const MAX_KNOWN: usize = 200_000;

/// An id that nobody knew is not asked for again within this time.
const UNKNOWN_FOR: Duration = Duration::from_millis(250);

/// Unknown ids that are remembered as such.
const MAX_UNKNOWN: usize = 10_000;

type Names = HashMap<[u8; 16], Arc<str>>;

/// Names of topics by id, asked of the cluster when needed.
pub(crate) struct Topics {
    client: Client,
    known: ArcSwap<Names>,
    /// Held while the cluster is asked; ids that it did not know, and when.
    unknown: Mutex<HashMap<[u8; 16], Instant>>,
}

/// What is known at one moment.
pub(crate) struct Known {
    names: Arc<Names>,
    all: Option<Vec<Arc<str>>>,
}

impl Topics {
    pub(crate) fn new(client: Client) -> Topics {
        Topics {
            client,
            known: ArcSwap::default(),
            unknown: Mutex::default(),
        }
    }

    /// The names of `ids`, as far as the cluster knows them.
    pub(crate) async fn names(&self, ids: &[[u8; 16]]) -> Result<Known, TransportError> {
        let known = self.known.load_full();
        if ids.iter().all(|id| known.contains_key(id)) {
            return Ok(Known {
                names: known,
                all: None,
            });
        }
        let mut unknown = self.unknown.lock().await;
        unknown.retain(|_, since| since.elapsed() < UNKNOWN_FOR);
        let known = self.known.load_full(); // somebody else may have asked meanwhile
        let wanted: Vec<[u8; 16]> = ids
            .iter()
            .filter(|id| !known.contains_key(*id) && !unknown.contains_key(*id))
            .copied()
            .collect();
        let names = match wanted.is_empty() {
            true => known,
            false => {
                let topics = wanted
                    .iter()
                    .map(|id| {
                        MetadataRequestTopic::default()
                            .with_name(None)
                            .with_topic_id(Uuid::from_bytes(*id))
                    })
                    .collect();
                let answer = self.ask(Some(topics)).await?;
                let names = self.learn(&answer);
                if unknown.len() < MAX_UNKNOWN {
                    let missing = wanted.into_iter().filter(|id| !names.contains_key(id));
                    unknown.extend(missing.map(|id| (id, Instant::now())));
                }
                names
            }
        };
        Ok(Known { names, all: None })
    }

    /// The names of all topics, and those of `ids`.
    pub(crate) async fn all(&self) -> Result<Known, TransportError> {
        let answer = self.ask(None).await?;
        let names = self.learn(&answer);
        let all = answer
            .topics
            .iter()
            .filter_map(|topic| topic.name.as_ref())
            .map(|name| Arc::from(name.as_str()))
            .collect();
        Ok(Known {
            names,
            all: Some(all),
        })
    }

    async fn ask(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Result<MetadataResponse, TransportError> {
        let call = Call {
            api: ApiKey::METADATA,
            min_version: BY_ID,
            max_version: NEWEST,
            encode: Box::new(move |version| {
                let mut body = BytesMut::new();
                MetadataRequest::default()
                    .with_topics(topics)
                    .with_allow_auto_topic_creation(false)
                    .encode(&mut body, version)
                    .map_err(|error| error.to_string())?;
                Ok(body.freeze())
            }),
        };
        let mut reply = self.client.call(Node::Bootstrap, call).await?;
        wire::walk::validate(
            ApiKey::METADATA,
            reply.version,
            Direction::Response,
            &reply.body,
        )
        .map_err(TransportError::malformed)?;
        MetadataResponse::decode(&mut reply.body, reply.version).map_err(TransportError::malformed)
    }

    fn learn(&self, answer: &MetadataResponse) -> Arc<Names> {
        let found = answer.topics.iter().filter_map(|topic| {
            let name = topic.name.as_ref().filter(|name| !name.is_empty())?;
            (!topic.topic_id.is_nil())
                .then(|| (topic.topic_id.into_bytes(), Arc::from(name.as_str())))
        });
        let found: Vec<([u8; 16], Arc<str>)> = found.collect();
        self.known.rcu(|known| {
            let mut names = match known.len() + found.len() > MAX_KNOWN {
                true => Names::new(),
                false => Names::clone(known),
            };
            names.extend(found.iter().cloned());
            names
        });
        self.known.load_full()
    }
}

impl Known {
    /// For requests without topic ids.
    pub(crate) fn nothing() -> Known {
        Known {
            names: Arc::default(),
            all: None,
        }
    }
}

impl TopicNames for Known {
    fn name(&self, id: &[u8; 16]) -> Option<Arc<str>> {
        self.names.get(id).cloned()
    }

    fn all(&self) -> Option<Vec<Arc<str>>> {
        self.all.clone()
    }
}
