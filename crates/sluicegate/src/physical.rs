//! What is in the Kafka cluster already, for the admin port's checks.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use admin::{Asked, NameOf, PhysicalCluster, PhysicalName};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ListGroupsRequest, ListTransactionsRequest, MetadataRequest, MetadataResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use proxy::Client;
use state::{Node, TransportError, ask};
use tokio::time::{Instant, sleep};
use wire::error_code::{
    COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE, NONE, NOT_COORDINATOR,
    UNKNOWN_TOPIC_OR_PARTITION,
};

/// Highest versions used. Topics are not created by asking from version 4 on.
const METADATA: (i16, i16) = (4, 12);
const LIST_GROUPS: (i16, i16) = (0, 5);
const LIST_TRANSACTIONS: (i16, i16) = (0, 1);

/// How long coordinators that load are waited for, and how often they are asked.
const COORDINATORS_WITHIN: Duration = Duration::from_secs(10);
const COORDINATORS_EVERY: Duration = Duration::from_millis(200);

/// Asks Kafka with the gateway's own connections.
#[derive(Clone)]
pub(crate) struct Physical {
    client: Client,
}

impl Physical {
    pub(crate) fn new(client: Client) -> Arc<Physical> {
        Arc::new(Physical { client })
    }

    async fn existing(&self, names: BTreeSet<String>) -> Result<BTreeSet<String>, TransportError> {
        let topics = names.iter().map(|name| {
            let name = TopicName(StrBytes::from_string(name.clone()));
            MetadataRequestTopic::default().with_name(Some(name))
        });
        let answer = self.metadata(Some(topics.collect())).await?;
        let existing = answer.topics.into_iter().filter_map(|topic| {
            // Any other error is one of a topic that is there.
            let is_there = topic.error_code != UNKNOWN_TOPIC_OR_PARTITION;
            topic.name.filter(|_| is_there).map(|name| name.to_string())
        });
        Ok(existing.collect())
    }

    async fn named(&self, prefix: &str) -> Result<Vec<PhysicalName>, TransportError> {
        let answer = self.metadata(None).await?;
        let mut found = BTreeSet::new();
        let mut take = |of: NameOf, name: &str| {
            if fold(name).starts_with(prefix) {
                found.insert(PhysicalName {
                    of,
                    name: name.to_owned(),
                });
            }
        };
        for topic in &answer.topics {
            if let Some(name) = &topic.name {
                take(NameOf::Topic, name);
            }
        }
        // Each broker knows those it coordinates.
        for broker in &answer.brokers {
            let node = Node::At {
                host: broker.host.as_str().into(),
                port: u16::try_from(broker.port).map_err(TransportError::malformed)?,
            };
            let groups = coordinator("ListGroups", || async {
                let request = ListGroupsRequest::default();
                let groups = ask(&self.client, node.clone(), LIST_GROUPS, |_| request).await?;
                Ok((groups.error_code, groups))
            })
            .await?;
            for group in &groups.groups {
                take(NameOf::Group, &group.group_id);
            }
            let listed = coordinator("ListTransactions", || async {
                let request = ListTransactionsRequest::default();
                let listed =
                    ask(&self.client, node.clone(), LIST_TRANSACTIONS, |_| request).await?;
                Ok((listed.error_code, listed))
            })
            .await;
            let listed = match listed {
                Ok(listed) => listed,
                // Brokers before 3.0 do not tell.
                Err(TransportError::Unsupported { .. }) => continue,
                Err(error) => return Err(error),
            };
            for transaction in &listed.transaction_states {
                take(NameOf::TransactionalId, &transaction.transactional_id);
            }
        }
        Ok(found.into_iter().collect())
    }

    async fn metadata(
        &self,
        topics: Option<Vec<MetadataRequestTopic>>,
    ) -> Result<MetadataResponse, TransportError> {
        let request = MetadataRequest::default()
            .with_topics(topics)
            .with_allow_auto_topic_creation(false);
        ask(&self.client, Node::Bootstrap, METADATA, |_| request).await
    }
}

impl PhysicalCluster for Physical {
    fn existing_topics(&self, names: BTreeSet<String>) -> Asked<BTreeSet<String>> {
        let this = self.clone();
        Box::pin(async move {
            let answer = match this.existing(names.clone()).await {
                // A connection of before that has died meanwhile says so only now.
                Err(_) => this.existing(names).await,
                answer => answer,
            };
            answer.map_err(|error| error.to_string())
        })
    }

    fn names_with(&self, prefix: String) -> Asked<Vec<PhysicalName>> {
        let this = self.clone();
        let prefix = fold(&prefix);
        Box::pin(async move {
            let answer = match this.named(&prefix).await {
                Err(_) => this.named(&prefix).await,
                answer => answer,
            };
            answer.map_err(|error| error.to_string())
        })
    }
}

/// Asks a coordinator, for a while again if it is just coming or going.
async fn coordinator<A, F>(asked: &str, ask: impl Fn() -> F) -> Result<A, TransportError>
where
    F: Future<Output = Result<(i16, A), TransportError>>,
{
    let deadline = Instant::now() + COORDINATORS_WITHIN;
    loop {
        match ask().await? {
            (NONE, answer) => return Ok(answer),
            (COORDINATOR_LOAD_IN_PROGRESS | COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR, _)
                if Instant::now() < deadline =>
            {
                sleep(COORDINATORS_EVERY).await
            }
            (code, _) => {
                return Err(TransportError::malformed(format!(
                    "{asked}: Kafka answers error {code}"
                )));
            }
        }
    }
}

fn fold(name: &str) -> String {
    name.replace('.', "_")
}
