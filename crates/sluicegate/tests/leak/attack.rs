//! The test: requests of every version of every API, and what comes back.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::raw::Request;
use testkit::{Error, Result};
use wire::api::ApiKey;
use wire::testing::Rng;

use crate::aim::{Learned, Shot, shot};
use crate::fixtures::LEADER;
use crate::holdings;
use crate::line::{Client, Heard, read, request};
use crate::names::{SIMPLE, TOPIC};
use crate::search::{Finding, Sent, error_codes};
use crate::world::{USERS, World};

/// As many for each user.
const SHOOTERS: usize = 6;
/// Requests after which the attacker makes again what it has deleted.
const UPKEEP: usize = 250;
/// Of the answers, so many in a hundred have to report a success somewhere.
const SUCCESSES: usize = 20;
/// How long an answer is waited for. Nothing that is sent makes brokers wait for as long; some of it they never answer.
const PATIENCE: Duration = Duration::from_secs(3);

#[test]
fn nothing_of_others_is_heard() {
    let world = World::get();
    let before = holdings::read(world).unwrap_or_else(|error| panic!("{error}"));
    let count = requests();
    let offered = offered(world);
    let pairs = pairs(&offered);
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let pairs = &pairs;
        let shooters: Vec<_> = (0..SHOOTERS)
            .map(|at| {
                scope.spawn(move || {
                    let mut shooter = Shooter::new(world, at);
                    let start = at * pairs.len() / SHOOTERS;
                    shooter.run(pairs, start, count.div_ceil(SHOOTERS));
                    shooter.tally
                })
            })
            .collect();
        let join = |shooter: std::thread::ScopedJoinHandle<'_, Tally>| {
            shooter
                .join()
                .unwrap_or_else(|_| panic!("a shooter panicked"))
        };
        shooters.into_iter().map(join).collect()
    });
    let mut total = Tally::default();
    tallies.into_iter().for_each(|tally| total.add(tally));
    println!("{}", total.describe());

    let after = holdings::read(world).unwrap_or_else(|error| panic!("{error}"));
    let changes = holdings::differences(&before, &after);
    let sessions = world
        .sessions
        .lock()
        .map(|mut sessions| sessions.go_on(&mut world.direct()));
    let mut problems: Vec<String> = total.findings.values().map(Finding::describe).collect();
    problems.extend(
        changes
            .into_iter()
            .map(|change| format!("changed: {change}")),
    );
    if let Ok(Err(error)) = sessions {
        problems.push(error.to_string());
    }
    assert!(
        problems.is_empty(),
        "SLUICEGATE_TEST_SEED={}\n{}",
        world.seed,
        problems.join("\n")
    );
    let missing: Vec<_> = pairs
        .iter()
        .filter(|pair| !total.sent.contains(pair))
        .collect();
    assert!(missing.is_empty(), "never sent: {missing:?}");
    let unanswered: Vec<_> = offered
        .into_iter()
        .filter(|pair| is_in_table(*pair) && !total.answered.contains(pair))
        // Random mechanisms and proofs of identity end a connection; every login of the shooters is answered to both.
        .filter(|(api, _)| {
            ![ApiKey::SASL_HANDSHAKE, ApiKey::SASL_AUTHENTICATE].contains(&ApiKey(*api))
        })
        .collect();
    assert!(
        unanswered.is_empty(),
        "offered, never answered: {unanswered:?}"
    );
    let enough = total.successes * 100 >= total.answers * SUCCESSES;
    assert!(
        enough,
        "{} of {} answers report a success",
        total.successes, total.answers
    );
}

/// API key and version.
type Pair = (i16, i16);

/// Every version of every API in the table, what is offered beside it, and some that are not in it.
fn pairs(offered: &BTreeSet<Pair>) -> Vec<Pair> {
    let mut pairs = offered.clone();
    for api in ApiKey::all() {
        let Some(spec) = api.spec() else { continue };
        let one_more = spec.max_version + 1;
        pairs.extend((spec.min_version..=one_more).map(|version| (api.0, version)));
    }
    pairs.extend((4..=7).map(|key| (key, 0)));
    pairs.extend([(93, 0), (999, 0), (-1, 0)]);
    pairs.into_iter().collect()
}

/// What the gateway says that it serves.
fn offered(world: &World) -> BTreeSet<Pair> {
    let body = json!({ "ClientSoftwareName": "leak", "ClientSoftwareVersion": "1" });
    let answer = world
        .client(USERS[1])
        .must(LEADER, ApiKey::API_VERSIONS, 3, &body);
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    let number = |value: &Value| value.as_i64().map_or(-1, |value| value as i16);
    let keys = answer["ApiKeys"].as_array().into_iter().flatten();
    keys.flat_map(|api| {
        let key = number(&api["ApiKey"]);
        (number(&api["MinVersion"])..=number(&api["MaxVersion"])).map(move |version| (key, version))
    })
    .collect()
}

fn is_in_table((api, version): Pair) -> bool {
    let spec = ApiKey(api).spec();
    spec.is_some_and(|spec| spec.has_version(version))
}

/// From the environment.
fn requests() -> usize {
    const EVERYDAY: usize = 2000;
    let given = std::env::var("SLUICEGATE_TEST_LEAK_REQUESTS").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(EVERYDAY)
}

/// What has happened.
#[derive(Default)]
struct Tally {
    sent: BTreeSet<Pair>,
    answered: BTreeSet<Pair>,
    requests: usize,
    answers: usize,
    successes: usize,
    /// Requests after which the connection was closed, or nothing came in time.
    closes: BTreeMap<Pair, usize>,
    silences: BTreeMap<Pair, Vec<u8>>,
    /// One for each API, version and kind.
    findings: BTreeMap<String, Finding>,
}

impl Tally {
    fn add(&mut self, other: Tally) {
        self.sent.extend(other.sent);
        self.answered.extend(other.answered);
        self.requests += other.requests;
        self.answers += other.answers;
        self.successes += other.successes;
        for (pair, count) in other.closes {
            *self.closes.entry(pair).or_default() += count;
        }
        self.silences.extend(other.silences);
        self.findings.extend(other.findings);
    }

    fn describe(&self) -> String {
        format!(
            "{} requests, {} answers, {} of them with a success, {} connections closed",
            self.requests,
            self.answers,
            self.successes,
            self.closes.values().sum::<usize>(),
        )
    }
}

/// One of those who ask.
struct Shooter<'w> {
    world: &'w World,
    user: &'static str,
    client: Client,
    /// Topic ids sent on the connection to each broker.
    sent: BTreeMap<i32, Sent>,
    learned: Learned,
    rng: Rng,
    tally: Tally,
}

impl<'w> Shooter<'w> {
    fn new(world: &'w World, at: usize) -> Shooter<'w> {
        let user = USERS[at % USERS.len()];
        Shooter {
            world,
            user,
            client: world.client(user),
            sent: BTreeMap::new(),
            learned: Learned::default(),
            rng: Rng::new(world.seed.wrapping_add(at as u64 + 1)),
            tally: Tally::default(),
        }
    }

    fn run(&mut self, pairs: &[Pair], start: usize, count: usize) {
        for at in 0..count {
            if at % UPKEEP == 0 {
                self.upkeep();
            }
            let pair = pairs[(start + at) % pairs.len()];
            if let Err(error) = self.fire(pair) {
                let (api, version) = pair;
                self.found(ApiKey(api), version, &error.to_string(), &[], &[]);
            }
        }
    }

    fn fire(&mut self, pair: Pair) -> Result<()> {
        let (api, version) = (ApiKey(pair.0), pair.1);
        let is_known = is_in_table(pair);
        let shot = match is_known {
            true => shot(
                api,
                version,
                &self.world.pools,
                &self.learned,
                &mut self.rng,
            ),
            false => Shot {
                body: (0..self.rng.below(60))
                    .map(|_| self.rng.number() as u8)
                    .collect(),
                is_due: true,
                group: String::new(),
            },
        };
        let request = match is_known {
            true => request(api, version, "leak", &shot.body),
            false => Request {
                api: pair.0,
                version,
                flexible: self.rng.one_in(2),
                client_id: "leak",
                body: &shot.body,
            },
        };
        let node = self.node(api);
        self.tally.requests += 1;
        self.tally.sent.insert(pair);
        let sent = self.sent.entry(node).or_default();
        self.world.markers.note(&shot.body, sent);
        let line = self.client.line(node)?;
        line.patience(PATIENCE)?;
        let heard = line.exchange(request, shot.is_due)?;
        let (bytes, is_over) = match heard {
            Heard::Nothing => return Ok(()),
            Heard::Answer(bytes) => (bytes, false),
            Heard::Closed(bytes) => {
                *self.tally.closes.entry(pair).or_default() += 1;
                (bytes, true)
            }
            Heard::Silence(bytes) => {
                self.tally.silences.insert(pair, shot.body.clone());
                (bytes, true)
            }
        };
        for what in self.world.markers.search(&bytes, &self.sent[&node]) {
            self.found(api, version, &what, &shot.body, &bytes);
        }
        if is_over {
            self.client.hang_up(node);
            self.sent.remove(&node);
            return Ok(());
        }
        self.tally.answers += 1;
        self.tally.answered.insert(pair);
        if is_known {
            self.understand(api, version, &shot, &bytes);
        }
        Ok(())
    }

    /// Reads an answer: looks at its fields, and learns from it.
    fn understand(&mut self, api: ApiKey, version: i16, shot: &Shot, bytes: &[u8]) {
        let answer = match read(api, version, bytes) {
            Ok(answer) => answer,
            Err(error) => return self.found(api, version, &error.to_string(), &shot.body, bytes),
        };
        for what in self.world.markers.search_fields(api, &answer) {
            self.found(api, version, &what, &shot.body, bytes);
        }
        if error_codes(api, &answer).contains(&0) {
            self.tally.successes += 1;
        }
        let int = |name: &str| answer[name].as_i64();
        let epoch = int("GenerationId").or_else(|| int("MemberEpoch"));
        if let (Some(member), Some(epoch)) = (answer["MemberId"].as_str(), epoch)
            && !member.is_empty()
        {
            let member = (shot.group.clone(), member.to_owned(), epoch);
            Learned::keep(&mut self.learned.members, member);
        }
        if let (Some(id), Some(epoch)) = (int("ProducerId"), int("ProducerEpoch"))
            && id >= 0
        {
            Learned::keep(&mut self.learned.producers, (id, epoch));
        }
        if let Some(id) = int("SessionId").filter(|id| *id != 0) {
            Learned::keep(&mut self.learned.sessions, id);
        }
    }

    fn found(&mut self, api: ApiKey, version: i16, what: &str, request: &[u8], answer: &[u8]) {
        let place = format!("{api} v{version} of {}", self.user);
        let kind: String = what.chars().take(60).collect();
        let key = format!("{place}: {kind}");
        self.tally.findings.entry(key).or_insert_with(|| Finding {
            place,
            what: what.to_owned(),
            request: request.to_vec(),
            answer: answer.to_vec(),
        });
    }

    /// The broker to ask: mostly the one that has the answer.
    fn node(&mut self, api: ApiKey) -> i32 {
        const TRANSACTIONS: [ApiKey; 7] = [
            ApiKey::INIT_PRODUCER_ID,
            ApiKey::ADD_PARTITIONS_TO_TXN,
            ApiKey::ADD_OFFSETS_TO_TXN,
            ApiKey::END_TXN,
            ApiKey::WRITE_TXN_MARKERS,
            ApiKey::DESCRIBE_TRANSACTIONS,
            ApiKey::LIST_TRANSACTIONS,
        ];
        const DATA: [ApiKey; 9] = [
            ApiKey::PRODUCE,
            ApiKey::FETCH,
            ApiKey::LIST_OFFSETS,
            ApiKey::DELETE_RECORDS,
            ApiKey::OFFSET_FOR_LEADER_EPOCH,
            ApiKey::DESCRIBE_PRODUCERS,
            ApiKey::SHARE_FETCH,
            ApiKey::SHARE_ACKNOWLEDGE,
            ApiKey::DESCRIBE_LOG_DIRS,
        ];
        let coordinators = self.world.coordinators;
        match api {
            _ if self.rng.one_in(5) => 1 + self.rng.below(3) as i32,
            _ if TRANSACTIONS.contains(&api) => coordinators.transactions,
            _ if DATA.contains(&api) => LEADER,
            _ => coordinators.groups,
        }
    }

    /// Makes what the attacker has, and gives the ordinary user its rights; what is there already stays.
    fn upkeep(&mut self) {
        let owner = &self.world.names.attacker;
        let mut client = self.world.client(USERS[1]);
        let node = self.world.coordinators.groups;
        let grants: Vec<Value> = [(2, 3), (2, 4), (3, 3), (5, 3)]
            .into_iter()
            .map(|(resource, pattern)| {
                let name = if pattern == 3 {
                    "*"
                } else {
                    owner.known.as_str()
                };
                json!({
                    "ResourceType": resource,
                    "ResourceName": name,
                    "ResourcePatternType": pattern,
                    "Principal": format!("User:{}", USERS[0]),
                    "Host": "*",
                    "Operation": 2,
                    "PermissionType": 3,
                })
            })
            .collect();
        let mut wanted = vec![(
            LEADER,
            ApiKey::CREATE_ACLS,
            3,
            json!({ "Creations": grants }),
        )];
        for word in owner.words() {
            let topic = format!("{word}-{TOPIC}");
            let body = json!({
                "Topics": [{
                    "Name": topic,
                    "NumPartitions": -1,
                    "ReplicationFactor": -1,
                    "Assignments": [{ "PartitionIndex": 0, "BrokerIds": [LEADER] }],
                }],
                "timeoutMs": 10_000,
            });
            wanted.push((LEADER, ApiKey::CREATE_TOPICS, 5, body));
            let body = json!({
                "GroupId": format!("{word}-{SIMPLE}"),
                "Topics": [{
                    "Name": topic,
                    "Partitions": [{ "PartitionIndex": 0, "CommittedOffset": 1 }],
                }],
            });
            wanted.push((node, ApiKey::OFFSET_COMMIT, 8, body));
        }
        for (node, api, version, body) in wanted {
            // That it is there already is an error, too.
            let _: Result<Value, Error> = client.ask(node, api, version, &body);
        }
    }
}
