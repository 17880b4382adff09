//! What a client says before it works, and what its answers mean.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    FetchResponse, MetadataRequest, MetadataResponse, ProduceResponse, SaslAuthenticateRequest,
    SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio_rustls::TlsConnector;
use wire::api::ApiKey;
use wire::error_code;
use wire::records::{Batches, Entry};

use super::{Args, PASSWORD, TOPICS_PER_REQUEST, names};
use crate::Result;
use crate::frames::{self, Template, Topic, text};
use crate::net::{self, Reader, Writer};

const METADATA: i16 = 12;
const TOPIC_ALREADY_EXISTS: i16 = 36;
/// What is stored of a topic that is only written.
const KEEP: &str = "134217728";
/// How often a fresh topic is asked for.
const TRIES: u32 = 200;

/// Versions in use.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Versions {
    /// Of Produce.
    pub(crate) produce: i16,
    /// Of Fetch.
    pub(crate) fetch: i16,
}

/// `node id=host:port,...`
pub(super) fn addresses(text: &str) -> Result<BTreeMap<i32, String>> {
    let pair = |pair: &str| {
        let (id, address) = pair.split_once('=').ok_or("an address without node id")?;
        Ok((id.parse()?, address.to_owned()))
    };
    text.split(',').map(pair).collect()
}

/// A connection that is through with its introduction.
pub(crate) struct Session {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    /// The highest that both sides know.
    pub(crate) versions: Versions,
}

impl Session {
    /// Connects, negotiates versions and logs in.
    pub(crate) async fn open(
        address: &str,
        tls: Option<&TlsConnector>,
        user: Option<&str>,
    ) -> Result<Session> {
        let password = user.map(|_| std::env::var(PASSWORD)).transpose()?;
        let login = user.zip(password.as_deref());
        Session::log_in_at(address, tls, login).await
    }

    /// The same with user and password.
    pub(crate) async fn log_in_at(
        address: &str,
        tls: Option<&TlsConnector>,
        login: Option<(&str, &str)>,
    ) -> Result<Session> {
        let (reader, writer) = net::connect(address, tls).await?;
        let mut session = Session {
            reader,
            writer,
            versions: Versions::default(),
        };
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("bench"))
            .with_client_software_version(text("1"));
        let offered: ApiVersionsResponse = session.call(ApiKey::API_VERSIONS, 3, &request).await?;
        let highest = |api: ApiKey, known: i16| {
            let offer = offered.api_keys.iter().find(|offer| offer.api_key == api.0);
            offer.map_or(0, |offer| offer.max_version.min(known))
        };
        session.versions = Versions {
            produce: highest(ApiKey::PRODUCE, 13),
            fetch: highest(ApiKey::FETCH, 18),
        };
        if let Some((user, password)) = login {
            session.log_in(user, password).await?;
        }
        Ok(session)
    }

    async fn log_in(&mut self, user: &str, password: &str) -> Result<()> {
        let handshake = SaslHandshakeRequest::default().with_mechanism(text("PLAIN"));
        let answer: SaslHandshakeResponse =
            self.call(ApiKey::SASL_HANDSHAKE, 1, &handshake).await?;
        no_error(answer.error_code)?;
        let token = format!("\0{user}\0{password}");
        let login = SaslAuthenticateRequest::default().with_auth_bytes(token.into());
        let answer: SaslAuthenticateResponse =
            self.call(ApiKey::SASL_AUTHENTICATE, 2, &login).await?;
        no_error(answer.error_code)
    }

    /// Sends a request and waits for its answer.
    pub(crate) async fn call<A: Decodable>(
        &mut self,
        api: ApiKey,
        version: i16,
        request: &impl Encodable,
    ) -> Result<A> {
        let frame = Template::new(api, version, request)?;
        self.exchange(api, version, &frame)
            .await
            .and_then(|answer| frames::decode(api, version, &answer))
    }

    /// Sends a frame and waits for its answer, given without its length.
    pub(crate) async fn exchange(
        &mut self,
        api: ApiKey,
        version: i16,
        frame: &Template,
    ) -> Result<Vec<u8>> {
        self.writer.write(&frame.head(0), frame.rest()).await?;
        let answer = self.reader.frame().await?;
        answer.ok_or_else(|| format!("the peer closed the connection on {api} v{version}").into())
    }

    /// Creates topics with one partition; those that exist are left as they are.
    pub(crate) async fn create(
        &mut self,
        names: &[String],
        replicas: i16,
        configs: &[(&str, &str)],
    ) -> Result<()> {
        let topics = names.iter().map(|name| {
            let configs = configs.iter().map(|(name, value)| {
                CreatableTopicConfig::default()
                    .with_name(text(name))
                    .with_value(Some(text(value)))
            });
            CreatableTopic::default()
                .with_name(TopicName(text(name)))
                .with_num_partitions(1)
                .with_replication_factor(replicas)
                .with_configs(configs.collect())
        });
        let request = CreateTopicsRequest::default()
            .with_timeout_ms(30_000)
            .with_topics(topics.collect());
        let answer: CreateTopicsResponse = self.call(ApiKey::CREATE_TOPICS, 5, &request).await?;
        for topic in &answer.topics {
            if ![error_code::NONE, TOPIC_ALREADY_EXISTS].contains(&topic.error_code) {
                let name = topic.name.0.as_str();
                return Err(format!("topic {name}: error {}", topic.error_code).into());
            }
        }
        Ok(())
    }

    /// Produces a batch so many times to each topic.
    pub(crate) async fn fill(
        &mut self,
        topics: &[Topic],
        batch: &Bytes,
        times: usize,
    ) -> Result<()> {
        let version = self.versions.produce;
        let frame = frames::produce(version, -1, topics, batch)?;
        for _ in 0..times {
            let answer = self.exchange(ApiKey::PRODUCE, version, &frame).await?;
            check(ApiKey::PRODUCE, version, &answer)?;
        }
        Ok(())
    }

    /// Ids and leaders of topics.
    pub(crate) async fn topics(&mut self, names: &[String]) -> Result<Vec<Topic>> {
        let asked = names.iter().map(|name| {
            let name = TopicName(text(name));
            MetadataRequestTopic::default().with_name(Some(name))
        });
        let request = MetadataRequest::default()
            .with_topics(Some(asked.collect()))
            .with_allow_auto_topic_creation(false);
        let answer: MetadataResponse = self.call(ApiKey::METADATA, METADATA, &request).await?;
        let topic = |found: &kafka_protocol::messages::metadata_response::MetadataResponseTopic| {
            let name = found.name.as_ref().map(|name| name.0.to_string());
            let name = name.unwrap_or_default();
            no_error(found.error_code).map_err(|e| format!("topic {name}: {e}"))?;
            let leader = found.partitions.first().map_or(-1, |p| p.leader_id.0);
            if leader < 0 {
                return Err(format!("topic {name} has no leader").into());
            }
            Ok(Topic {
                name,
                id: found.topic_id,
                leader,
            })
        };
        answer.topics.iter().map(topic).collect()
    }
}

fn no_error(code: i16) -> Result<()> {
    match code {
        error_code::NONE => Ok(()),
        code => Err(format!("the answer has error {code}").into()),
    }
}

/// Looks for errors in an answer to Produce or Fetch, and at the batches in it.
pub(crate) fn check(api: ApiKey, version: i16, frame: &[u8]) -> Result<()> {
    if api == ApiKey::PRODUCE {
        let answer: ProduceResponse = frames::decode(api, version, frame)?;
        let mut partitions = answer.responses.iter().flat_map(|t| &t.partition_responses);
        return partitions.try_for_each(|partition| no_error(partition.error_code));
    }
    let answer: FetchResponse = frames::decode(api, version, frame)?;
    no_error(answer.error_code)?;
    for partition in answer.responses.iter().flat_map(|t| &t.partitions) {
        no_error(partition.error_code)?;
        let records = partition.records.as_deref().unwrap_or_default();
        let mut batches = 0;
        for entry in Batches::new(records) {
            match entry.map_err(|error| error.to_string())? {
                Entry::Batch(batch) if batch.crc_is_valid() => batches += 1,
                Entry::Batch(_) => return Err("a batch with a wrong checksum".into()),
                _ => {}
            }
        }
        if batches == 0 {
            return Err("a partition without batches".into());
        }
    }
    Ok(())
}

/// Creates all topics of a load and fills those that are read.
pub(super) async fn prepare(args: &Args, tls: Option<&TlsConnector>) -> Result<()> {
    let addresses = addresses(&args.addresses)?;
    let (_, first) = addresses.first_key_value().ok_or("no address")?;
    let mut session = Session::open(first, tls, args.user.as_deref()).await?;
    let written = names(args, 'r');
    let read = names(args, 'c');
    let bounded = [
        ("retention.bytes", KEEP),
        ("segment.bytes", "67108864"),
        ("file.delete.delay.ms", "1000"),
    ];
    session.create(&written, args.replicas, &bounded).await?;
    session.create(&read, args.replicas, &[]).await?;
    known(&mut session, &written).await?;
    let read = known(&mut session, &read).await?;
    let batch = frames::batch(args.record_bytes, args.batch_bytes);
    for (id, address) in addresses {
        let mut session = Session::open(&address, tls, args.user.as_deref()).await?;
        let led: Vec<Topic> = read.iter().filter(|t| t.leader == id).cloned().collect();
        for topics in led.chunks(TOPICS_PER_REQUEST) {
            // As much as one Fetch asks for, and a bit more.
            let requests = args.fetch_bytes / batch.len() + 2;
            session.fill(topics, &batch, requests).await?;
        }
    }
    Ok(())
}

/// Waits until the brokers know the topics.
async fn known(session: &mut Session, names: &[String]) -> Result<Vec<Topic>> {
    let mut tries = 0;
    loop {
        match session.topics(names).await {
            Ok(topics) => return Ok(topics),
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
