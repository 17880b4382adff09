//! A broker that costs next to nothing: it stores nothing and answers from memory.
//!
//! It knows every topic whose name is a letter, the size of its records, a dash and a number (`r1024-3`); partition 0 only.
//! Produce drops the records unread where the kernel can do it, Fetch gives an answer that was made once. For foreign clients
//! and for state of the gateway there is `devbroker`; it reads and keeps what it gets.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::rc::Rc;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, FetchRequest, FetchResponse, MetadataRequest, MetadataResponse,
    ProduceResponse, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;
use uuid::Uuid;
use wire::api::ApiKey;
use wire::header::{RequestHeader, response_header_version};

use crate::net::{self, Reader, Writer};
use crate::{Result, frames};

/// Versions that are served.
const VERSIONS: [(ApiKey, i16, i16); 4] = [
    (ApiKey::PRODUCE, 9, 13),
    (ApiKey::FETCH, 12, 18),
    (ApiKey::METADATA, 0, 13),
    (ApiKey::API_VERSIONS, 0, 4),
];
/// The only node id.
const NODE: i32 = 1;
/// Bytes of records in a batch of a Fetch answer, if one record does not take more.
const BATCH: usize = 16 * 1024;
/// Fetch answers that are kept.
const KEPT: usize = 256;
/// More than a request header takes here.
const HEADER: usize = 256;

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Port on loopback.
    #[arg(long)]
    port: u16,
    /// Threads.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// PEM file with certificate and key: speak TLS.
    #[arg(long)]
    tls: Option<PathBuf>,
}

/// Serves until the process is killed.
pub(crate) fn run(args: &Args) -> Result<()> {
    let tls = args.tls.as_deref().map(net::acceptor).transpose()?;
    let port = args.port;
    let workers = (0..args.threads.max(1))
        .map(|_| start_worker(port, tls.clone()))
        .collect::<Result<Vec<_>>>()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        let listener: TcpListener = socket.listen(4096)?;
        println!("ready");
        for worker in workers.iter().cycle() {
            let (stream, _) = listener.accept().await?;
            worker.send(stream.into_std()?).await?;
        }
        Ok(())
    })
}

fn start_worker(port: u16, tls: Option<TlsAcceptor>) -> Result<mpsc::Sender<std::net::TcpStream>> {
    let (sender, mut accepted) = mpsc::channel::<std::net::TcpStream>(1024);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new()
        .name("broker".to_owned())
        .spawn(move || {
            LocalSet::new().block_on(&runtime, async move {
                let answers = Rc::new(Answers::new(port));
                while let Some(stream) = accepted.recv().await {
                    let (tls, answers) = (tls.clone(), answers.clone());
                    tokio::task::spawn_local(async move {
                        // The peer sees the end of the connection; a relay that is ended does this all the time.
                        let _ = serve(stream, tls, &answers).await;
                    });
                }
            });
        })?;
    Ok(sender)
}

async fn serve(
    stream: std::net::TcpStream,
    tls: Option<TlsAcceptor>,
    answers: &Answers,
) -> Result<()> {
    let stream = tokio::net::TcpStream::from_std(stream)?;
    let (mut reader, mut writer) = net::accepted(stream, tls.as_ref()).await?;
    while reader.need(4).await? {
        let left = reader.length();
        reader.consume(4);
        let mut frame = Frame {
            reader: &mut reader,
            left,
        };
        let header = frame.header().await?;
        let answer = match header.api {
            ApiKey::PRODUCE => answers.produce(&header, &mut frame).await?,
            _ => {
                let body = frame.take(frame.left).await?;
                Some(answers.other(&header, &body)?)
            }
        };
        frame.end().await?;
        if let Some(answer) = answer {
            write(&mut writer, header.correlation_id, &answer).await?;
        }
    }
    Ok(())
}

/// Writes what follows the correlation id, with length and correlation id in front.
async fn write(writer: &mut Writer, id: i32, answer: &[u8]) -> io::Result<()> {
    let length = i32::try_from(answer.len() + 4).unwrap_or(i32::MAX);
    let mut head = [0; 8];
    head[..4].copy_from_slice(&length.to_be_bytes());
    head[4..].copy_from_slice(&id.to_be_bytes());
    writer.write(&head, answer).await
}

struct Header {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
}

/// The rest of a request frame, read as needed.
struct Frame<'r> {
    reader: &'r mut Reader,
    left: usize,
}

impl Frame<'_> {
    async fn header(&mut self) -> Result<Header> {
        self.reader.need(self.left.min(HEADER)).await?;
        let parsed = RequestHeader::parse(self.reader.data()).map_err(|e| e.to_string())?;
        let (len, header) = (
            parsed.len,
            Header {
                api: parsed.api,
                version: parsed.version,
                correlation_id: parsed.correlation_id,
            },
        );
        self.take(len).await?;
        Ok(header)
    }

    async fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        self.left = self.left.checked_sub(count).ok_or("a cut frame")?;
        Ok(self.reader.take(count).await?)
    }

    async fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.left = self.left.checked_sub(N).ok_or("a cut frame")?;
        self.reader.need(N).await?;
        let array = self.reader.data().first_chunk().copied();
        self.reader.consume(N);
        Ok(array.ok_or("a cut frame")?)
    }

    /// Length of a compact string, array or byte field; 0 for null.
    async fn length(&mut self) -> Result<usize> {
        let mut value = 0_usize;
        for shift in (0..35).step_by(7) {
            let [byte] = self.array().await?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                break;
            }
        }
        Ok(value.saturating_sub(1))
    }

    async fn tags(&mut self) -> Result<()> {
        match self.array().await? {
            [0] => Ok(()),
            _ => Err("tagged fields are not understood here".into()),
        }
    }

    async fn skip(&mut self, count: usize) -> Result<()> {
        self.left = self.left.checked_sub(count).ok_or("a cut frame")?;
        Ok(self.reader.discard(count).await?)
    }

    async fn end(&mut self) -> Result<()> {
        self.skip(self.left).await
    }
}

/// A topic is in its name and in its id.
#[derive(Clone, Copy)]
struct Named {
    letter: u8,
    record: u32,
    number: u32,
}

impl Named {
    fn of_name(name: &str) -> Option<Named> {
        let (record, number) = name.get(1..)?.split_once('-')?;
        Some(Named {
            letter: *name.as_bytes().first()?,
            record: record.parse().ok()?,
            number: number.parse().ok()?,
        })
    }

    fn id(self) -> Uuid {
        let high = u64::from(self.letter) | 0xbe4c << 48;
        Uuid::from_u64_pair(high, u64::from(self.record) << 32 | u64::from(self.number))
    }

    fn name(self) -> String {
        format!("{}{}-{}", char::from(self.letter), self.record, self.number)
    }

    fn of_id(id: Uuid) -> Named {
        let (high, low) = id.as_u64_pair();
        Named {
            letter: high as u8,
            record: (low >> 32) as u32,
            number: low as u32,
        }
    }
}

struct Answers {
    port: u16,
    /// Answers to Fetch by version and body.
    fetched: RefCell<HashMap<(i16, Vec<u8>), Bytes>>,
}

impl Answers {
    fn new(port: u16) -> Answers {
        Answers {
            port,
            fetched: RefCell::default(),
        }
    }

    async fn produce(&self, header: &Header, frame: &mut Frame<'_>) -> Result<Option<Bytes>> {
        let version = header.version;
        let transactional_id = frame.length().await?;
        frame.skip(transactional_id).await?;
        let acks = i16::from_be_bytes(frame.array().await?);
        frame.skip(4).await?;
        let mut topics = Vec::new();
        for _ in 0..frame.length().await? {
            let mut topic = TopicProduceResponse::default();
            if version >= 13 {
                topic.topic_id = Uuid::from_bytes(frame.array().await?);
            } else {
                let length = frame.length().await?;
                let name = String::from_utf8(frame.take(length).await?)?;
                topic.name = TopicName(frames::text(&name));
            }
            for _ in 0..frame.length().await? {
                let index = i32::from_be_bytes(frame.array().await?);
                let records = frame.length().await?;
                frame.skip(records).await?;
                frame.tags().await?;
                let stored = PartitionProduceResponse::default().with_index(index);
                topic.partition_responses.push(stored);
            }
            frame.tags().await?;
            topics.push(topic);
        }
        if acks == 0 {
            return Ok(None);
        }
        let answer = ProduceResponse::default().with_responses(topics);
        encode(header, &answer).map(Some)
    }

    fn other(&self, header: &Header, body: &[u8]) -> Result<Bytes> {
        let version = header.version;
        match header.api {
            ApiKey::FETCH => {
                let key = (version, body.to_vec());
                if let Some(answer) = self.fetched.borrow().get(&key) {
                    return Ok(answer.clone());
                }
                let mut rest = Bytes::copy_from_slice(body);
                let answer = fetch(version, &FetchRequest::decode(&mut rest, version)?);
                let answer = encode(header, &answer)?;
                let mut fetched = self.fetched.borrow_mut();
                if fetched.len() >= KEPT {
                    fetched.clear();
                }
                fetched.insert(key, answer.clone());
                Ok(answer)
            }
            ApiKey::METADATA => {
                let mut rest = Bytes::copy_from_slice(body);
                let request = MetadataRequest::decode(&mut rest, version)?;
                encode(header, &self.metadata(&request))
            }
            ApiKey::API_VERSIONS => {
                let keys = VERSIONS.map(|(api, min, max)| {
                    let range = ApiVersion::default().with_api_key(api.0);
                    range.with_min_version(min).with_max_version(max)
                });
                encode(
                    header,
                    &ApiVersionsResponse::default().with_api_keys(keys.to_vec()),
                )
            }
            other => Err(format!("{other} is not served").into()),
        }
    }

    fn metadata(&self, request: &MetadataRequest) -> MetadataResponse {
        let asked = request.topics.as_deref().unwrap_or_default();
        let topics = asked.iter().map(|asked| {
            // The gateway asks by id: else it would look for the name again with each request.
            let topic = match &asked.name {
                Some(name) => Named::of_name(&name.0),
                None => Some(Named::of_id(asked.topic_id)).filter(|t| t.id() == asked.topic_id),
            };
            let Some(topic) = topic else {
                let unknown = MetadataResponseTopic::default().with_error_code(3);
                return unknown.with_name(asked.name.clone());
            };
            let partition = MetadataResponsePartition::default()
                .with_leader_id(BrokerId(NODE))
                .with_replica_nodes(vec![BrokerId(NODE)])
                .with_isr_nodes(vec![BrokerId(NODE)]);
            let name = asked.name.clone();
            MetadataResponseTopic::default()
                .with_name(name.or_else(|| Some(frames::text(&topic.name()).into())))
                .with_topic_id(topic.id())
                .with_partitions(vec![partition])
        });
        let broker = MetadataResponseBroker::default()
            .with_node_id(BrokerId(NODE))
            .with_host(frames::text("127.0.0.1"))
            .with_port(i32::from(self.port));
        MetadataResponse::default()
            .with_brokers(vec![broker])
            .with_cluster_id(Some(frames::text("benchmark-000000000000")))
            .with_controller_id(BrokerId(NODE))
            .with_topics(topics.collect())
    }
}

fn fetch(version: i16, request: &FetchRequest) -> FetchResponse {
    let mut room = usize::try_from(request.max_bytes).unwrap_or(0);
    let topics = request.topics.iter().map(|asked| {
        let named = match version {
            13.. => Some(Named::of_id(asked.topic_id)),
            _ => Named::of_name(&asked.topic.0),
        };
        let partitions = asked.partitions.iter().map(|partition| {
            let mut data = PartitionData::default()
                .with_partition_index(partition.partition)
                .with_high_watermark(1 << 40)
                .with_last_stable_offset(1 << 40);
            match named {
                None => data.error_code = 3,
                Some(named) => {
                    let record = named.record as usize;
                    let wanted = usize::try_from(partition.partition_max_bytes).unwrap_or(0);
                    let batch = frames::batch(record, BATCH);
                    let count = (BATCH / record.max(1)).max(1) as i64;
                    let set = frames::record_set(&batch, count, wanted.min(room));
                    room = room.saturating_sub(set.len());
                    data.records = Some(set);
                }
            }
            data
        });
        FetchableTopicResponse::default()
            .with_topic(asked.topic.clone())
            .with_topic_id(asked.topic_id)
            .with_partitions(partitions.collect())
    });
    let topics = topics.collect();
    FetchResponse::default().with_responses(topics)
}

/// What follows the correlation id.
fn encode(header: &Header, answer: &impl Encodable) -> Result<Bytes> {
    let mut out = BytesMut::new();
    if response_header_version(header.api, header.version) >= 1 {
        out.put_u8(0);
    }
    answer.encode(&mut out, header.version)?;
    Ok(out.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_known_by_its_id() {
        let named = Named::of_name("c1024-17").expect("a name of ours");
        let again = Named::of_id(named.id());
        assert_eq!((again.letter, again.record, again.number), (b'c', 1024, 17));
        assert!(Named::of_name("orders").is_none());
        assert_eq!(again.name(), "c1024-17");
        let foreign = Uuid::from_u128(1);
        assert_ne!(Named::of_id(foreign).id(), foreign);
    }
}
