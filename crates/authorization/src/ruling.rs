//! What becomes of a request.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use wire::api::{ApiKey, Direction};
use wire::schema::Entity;

use crate::acls::AclRequest;
use wire::tree::{self as message, Node, Record};

/// What becomes of a request.
#[derive(Debug)]
pub enum Ruling {
    /// Everything is allowed: the request goes to Kafka and the answer to the client byte for byte.
    Forward,
    /// Goes to Kafka, and the answer gets some work.
    Rewrite {
        /// Instead of the client's body, of the same version; `None`: the client's.
        body: Option<Bytes>,
        /// What is done to the answer.
        answer: AnswerWork,
    },
    /// Goes to Kafka in another version than the client's, as the client's own cannot say what must be said.
    Convert {
        /// Version to put into the header; the answer comes in it.
        version: i16,
        /// Body of that version.
        body: Bytes,
        /// Makes an answer of the client's version.
        answer: AnswerWork,
    },
    /// The body of an answer in the client's version; Kafka is not asked.
    Answer(Bytes),
    /// Cannot be judged without [`TopicNames::all`]: to be judged again with it. Never the second time.
    ListTopics,
    /// A change of the access control lists, to be written before it is answered.
    Acls(AclRequest),
    /// Not for clients, or no answer can say what happened (a producer that asks for none): the connection is closed.
    Close,
}

/// Why there is no ruling: the request (or the answer) is not understood, or too large. The connection is to be closed. A name that is not
/// UTF-8 is one that nobody could have granted anything on.
pub use wire::tree::TreeError as Error;

/// Names of topics by their ids (KIP-516).
pub trait TopicNames {
    /// `None`: the gateway knows no topic of this id.
    fn name(&self, id: &[u8; 16]) -> Option<Arc<str>>;

    /// Names of all topics, in no order. `None`: not at hand, which makes a request that needs them [`Ruling::ListTopics`].
    fn all(&self) -> Option<Vec<Arc<str>>> {
        None
    }
}

/// For requests that have no topic ids.
impl TopicNames for () {
    fn name(&self, _id: &[u8; 16]) -> Option<Arc<str>> {
        None
    }
}

/// What is done to the answer of Kafka.
pub struct AnswerWork {
    api: ApiKey,
    /// Version of Kafka's answer, if it is not the client's.
    asked: Option<i16>,
    needs_names: bool,
    is_nothing: bool,
    weight: usize,
    edit: Edit,
}

type Edit = Box<dyn for<'a> Fn(&mut Record<'a>, &dyn TopicNames) + Send + Sync>;

impl AnswerWork {
    pub(crate) fn new(
        api: ApiKey,
        edit: impl for<'a> Fn(&mut Record<'a>, &dyn TopicNames) + Send + Sync + 'static,
    ) -> AnswerWork {
        AnswerWork {
            api,
            asked: None,
            needs_names: false,
            is_nothing: false,
            weight: 0,
            edit: Box::new(edit),
        }
    }

    /// Notes that the work remembers these until the answer comes.
    pub(crate) fn remembering(mut self, denied: usize) -> AnswerWork {
        self.weight += denied;
        self
    }

    /// Memory that it takes until the answer comes, bytes, about.
    pub fn weight(&self) -> usize {
        self.weight
    }

    /// Leaves the answer as it is, but for its version.
    pub(crate) fn nothing(api: ApiKey) -> AnswerWork {
        AnswerWork {
            is_nothing: true,
            ..AnswerWork::new(api, |_, _| {})
        }
    }

    /// Whether the answer stays as it is.
    pub fn is_nothing(&self) -> bool {
        self.is_nothing && self.asked.is_none()
    }

    /// Adds denied elements to an array at top level, unless the request failed as a whole.
    pub(crate) fn append(
        api: ApiKey,
        array: &'static str,
        denied: Vec<Node<'static>>,
    ) -> AnswerWork {
        let weight = weight(&denied);
        AnswerWork::new(api, move |answer, _| {
            if answer.meaning(Entity::ErrorCode).as_int() == 0 {
                answer.edit_list(array, |list| list.extend(denied.iter().cloned()));
            }
        })
        .remembering(weight)
    }

    pub(crate) fn asked_in(mut self, version: i16) -> AnswerWork {
        self.asked = Some(version);
        self
    }

    pub(crate) fn needing_names(mut self) -> AnswerWork {
        self.needs_names = true;
        self
    }

    /// Makes the client's answer of Kafka's. `version` is the client's. For answers without topic ids to resolve, see
    /// [`AnswerWork::topic_ids`].
    pub fn apply(&self, version: i16, body: &[u8]) -> Result<Vec<u8>, Error> {
        self.apply_with(version, body, &())
    }

    /// Like [`AnswerWork::apply`], with the names of the topics that the answer has only the ids of. What has no name is left out.
    pub fn apply_with(
        &self,
        version: i16,
        body: &[u8],
        topics: &dyn TopicNames,
    ) -> Result<Vec<u8>, Error> {
        let asked = self.asked.unwrap_or(version);
        let mut answer = message::decode(self.api, asked, Direction::Response, body)?;
        (self.edit)(&mut answer, topics);
        Ok(message::encode(
            self.api,
            version,
            Direction::Response,
            &answer,
        ))
    }

    /// Ids in the answer that [`AnswerWork::apply_with`] needs names for; empty for nearly all answers, without a look at them.
    pub fn topic_ids(&self, version: i16, body: &[u8]) -> Result<Vec<[u8; 16]>, Error> {
        if !self.needs_names {
            return Ok(Vec::new());
        }
        crate::names::ids(self.api, version, Direction::Response, body)
    }
}

/// Memory that elements take, bytes.
pub(crate) fn weight(elements: &[Node<'_>]) -> usize {
    elements.iter().map(Node::weight).sum()
}

impl fmt::Debug for AnswerWork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerWork")
            .field("api", &self.api)
            .finish_non_exhaustive()
    }
}
