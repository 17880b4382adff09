//! Fetch sessions that are somebody else's.

use serde_json::{Value, json};
use testkit::{Error, Result};
use wire::api::ApiKey;

use crate::fixtures::LEADER;
use crate::line::{Client, Door};
use crate::names::{MEMBER, Names, SHARE, TOPIC};

/// Open sessions: one of a client of Kafka, one of a client of the gateway, and one of a member of a share group.
pub(crate) struct Sessions {
    fetches: Vec<Session>,
    share: Client,
    group: String,
    member: String,
    share_epoch: i64,
}

struct Session {
    /// Along which way, for people.
    way: &'static str,
    /// Kept open.
    _client: Option<Client>,
    id: i64,
    epoch: i64,
}

impl Sessions {
    /// Opens them.
    pub(crate) fn open(direct: &Door, gateway: &Door, names: &Names) -> Result<Sessions> {
        let victim = &names.victim;
        let logical = format!("{}-{TOPIC}", victim.secret);
        let physical = victim.physical(&victim.secret, TOPIC);
        let mut fetches = Vec::new();
        for (way, door, topic) in [
            ("of Kafka", direct, &physical),
            ("of the gateway", gateway, &logical),
        ] {
            let mut client = Client::new(door.clone());
            let mut session = Session {
                way,
                _client: None,
                id: 0,
                epoch: 0,
            };
            let topics = json!([{
                "Topic": topic,
                "Partitions": [{ "Partition": 0, "FetchOffset": 0, "PartitionMaxBytes": 1000 }],
            }]);
            session.fetch(&mut client, topics)?;
            session._client = Some(client);
            fetches.push(session);
        }
        let mut sessions = Sessions {
            fetches,
            share: Client::new(direct.clone()),
            group: victim.physical(&victim.known, SHARE),
            member: format!("{}-{MEMBER}", victim.known),
            share_epoch: 0,
        };
        sessions.fetch_shares()?;
        Ok(sessions)
    }

    /// Ids of fetch sessions.
    pub(crate) fn ids(&self) -> Vec<i64> {
        self.fetches.iter().map(|session| session.id).collect()
    }

    /// Goes on with each, as Kafka has it: the gateway may ask its own clients at any time to begin again.
    ///
    /// # Errors
    /// One is not there any more, or its epoch is another one.
    pub(crate) fn go_on(&mut self, direct: &mut Client) -> Result<()> {
        for session in &mut self.fetches {
            session.fetch(direct, json!([])).map_err(|error| {
                Error::Violated(format!(
                    "the fetch session of a client {}: {error}",
                    session.way
                ))
            })?;
        }
        self.fetch_shares()
    }

    fn fetch_shares(&mut self) -> Result<()> {
        let body = json!({
            "GroupId": self.group,
            "MemberId": self.member,
            "ShareSessionEpoch": self.share_epoch,
            "MaxWaitMs": 1,
            "MinBytes": 0,
            "MaxRecords": 1,
            "BatchSize": 1,
        });
        self.share_epoch += 1;
        self.share
            .must(LEADER, ApiKey::SHARE_FETCH, 1, &body)
            .map(drop)
    }
}

impl Session {
    fn fetch(&mut self, client: &mut Client, topics: Value) -> Result<()> {
        let body = json!({
            "ReplicaId": -1,
            "MaxWaitMs": 1,
            "MinBytes": 0,
            "SessionId": self.id,
            "SessionEpoch": self.epoch,
            "Topics": topics,
        });
        let answer = client.must(LEADER, ApiKey::FETCH, 12, &body)?;
        let id = answer["SessionId"].as_i64().unwrap_or(0);
        if id == 0 || (self.id != 0 && id != self.id) {
            return Err(Error::Violated(format!("no fetch session: {answer}")));
        }
        self.id = id;
        self.epoch += 1;
        Ok(())
    }
}
