//! What must not be in an answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use wire::api::ApiKey;
use wire::schema::{Entity, FieldSpec, FieldType};

use crate::message::hex;

/// Everything that the attacker cannot know.
#[derive(Default)]
pub(crate) struct Markers {
    needles: Vec<(Vec<u8>, String)>,
    /// Needles by their first two bytes.
    starts: BTreeMap<[u8; 2], Vec<usize>>,
    /// Topic ids that the attacker sends: these may come back on the connection on which they were sent.
    known_ids: Vec<([u8; 16], String)>,
    /// Numbers that are too small to search for in bytes.
    numbers: BTreeMap<i64, String>,
    producers: BTreeMap<i64, String>,
    /// What names of the attacker begin with in Kafka.
    prefix: Vec<u8>,
    /// Texts with that beginning that the attacker sends.
    spoken: Vec<Vec<u8>>,
    /// Where brokers may be said to be.
    addresses: BTreeSet<(String, i64)>,
    cluster_id: String,
}

/// Topic ids sent on one connection so far.
#[derive(Default)]
pub(crate) struct Sent(BTreeSet<[u8; 16]>);

impl Markers {
    /// Bytes of at least two.
    pub(crate) fn bytes(&mut self, bytes: &[u8], what: impl Into<String>) {
        let Some(start) = bytes.first_chunk::<2>() else {
            panic!("a marker of {} bytes", bytes.len());
        };
        self.starts
            .entry(*start)
            .or_default()
            .push(self.needles.len());
        self.needles.push((bytes.to_vec(), what.into()));
    }

    pub(crate) fn text(&mut self, text: &str, what: impl Into<String>) {
        self.bytes(text.as_bytes(), what);
    }

    pub(crate) fn known_id(&mut self, id: [u8; 16], what: impl Into<String>) {
        self.known_ids.push((id, what.into()));
    }

    /// A number; searched for as eight bytes if it is large enough to be seen there.
    pub(crate) fn number(&mut self, number: i64, what: &str) {
        if number >> 40 != 0 {
            self.bytes(&number.to_be_bytes(), what);
        } else {
            self.numbers.insert(number, what.to_owned());
        }
    }

    pub(crate) fn producer(&mut self, id: i64, what: impl Into<String>) {
        self.producers.insert(id, what.into());
    }

    /// The attacker's own names as Kafka has them; `spoken` is all that the attacker says.
    pub(crate) fn prefix<'s>(&mut self, prefix: &str, spoken: impl Iterator<Item = &'s str>) {
        self.prefix = prefix.as_bytes().to_vec();
        let spoken = spoken.filter(|text| text.contains(prefix));
        self.spoken = spoken.map(|text| text.as_bytes().to_vec()).collect();
    }

    /// What is right to say about the cluster.
    pub(crate) fn cluster(&mut self, id: String, addresses: BTreeSet<(String, i64)>) {
        self.cluster_id = id;
        self.addresses = addresses;
    }

    /// What each marker is.
    pub(crate) fn all(&self) -> BTreeSet<&str> {
        let needles = self.needles.iter().map(|(_, what)| what);
        let ids = self.known_ids.iter().map(|(_, what)| what);
        let numbers = self.numbers.values().chain(self.producers.values());
        needles
            .chain(ids)
            .chain(numbers)
            .map(String::as_str)
            .collect()
    }

    /// Notes what a request says.
    pub(crate) fn note(&self, request: &[u8], sent: &mut Sent) {
        for (id, _) in &self.known_ids {
            if contains(request, id) {
                sent.0.insert(*id);
            }
        }
    }

    /// What of it is in these bytes.
    pub(crate) fn search(&self, bytes: &[u8], sent: &Sent) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for at in 0..bytes.len() {
            let Some(start) = bytes[at..].first_chunk::<2>() else {
                break;
            };
            for index in self.starts.get(start).into_iter().flatten() {
                let (needle, what) = &self.needles[*index];
                if bytes[at..].starts_with(needle) {
                    found.insert(what.clone());
                }
            }
            if bytes[at..].starts_with(&self.prefix) && !self.may_stand(bytes, at) {
                let end = bytes.len().min(at + 40);
                let text = String::from_utf8_lossy(&bytes[at..end]);
                found.insert(format!("a name as Kafka has it: {text:?}"));
            }
        }
        for (id, what) in &self.known_ids {
            if !sent.0.contains(id) && contains(bytes, id) {
                found.insert(what.clone());
            }
        }
        found
    }

    /// Whether the attacker's prefix may be at a place: in the cluster's id, and in what the attacker said.
    fn may_stand(&self, bytes: &[u8], at: usize) -> bool {
        if self.prefix.is_empty() || bytes.get(at + self.prefix.len()) == Some(&b'@') {
            return true;
        }
        self.spoken.iter().any(|text| {
            let mut places =
                (0..text.len()).filter(|start| text[*start..].starts_with(&self.prefix));
            places.any(|before| {
                at.checked_sub(before)
                    .is_some_and(|start| bytes[start..].starts_with(text))
            })
        })
    }

    /// What of it is in the fields of an answer.
    pub(crate) fn search_fields(&self, api: ApiKey, answer: &Value) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        if let Some(spec) = api.spec() {
            self.record(spec.response.fields, answer, &mut found);
        }
        found
    }

    fn record(&self, fields: &[FieldSpec], answer: &Value, found: &mut BTreeSet<String>) {
        let meaning = |entity: Entity| {
            let mut specs = fields.iter().filter(|spec| spec.entity == entity);
            specs.find_map(|spec| answer.get(spec.name))
        };
        if let (Some(Value::String(host)), Some(port)) =
            (meaning(Entity::Host), meaning(Entity::Port))
        {
            let address = (host.clone(), port.as_i64().unwrap_or_default());
            let is_none = host.is_empty();
            if !is_none && !self.addresses.contains(&address) {
                found.insert(format!("the address {host}:{port}"));
            }
        }
        for spec in fields {
            let elements = match &answer[spec.name] {
                Value::Array(elements) => elements.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in elements {
                match spec.ty {
                    FieldType::Struct(inner) => self.record(inner, value, found),
                    _ => self.value(spec, value, found),
                }
            }
        }
    }

    fn value(&self, spec: &FieldSpec, value: &Value, found: &mut BTreeSet<String>) {
        match (spec.entity, value) {
            (Entity::ClusterId, Value::String(id)) if !id.is_empty() && *id != self.cluster_id => {
                found.insert(format!("the cluster id {id:?}"));
            }
            (Entity::InternalHost | Entity::LogDir, Value::String(text)) if !text.is_empty() => {
                found.insert(format!("{} {text:?}", spec.name));
            }
            (Entity::ProducerId, Value::Number(number)) => {
                let known = number.as_i64().and_then(|id| self.producers.get(&id));
                found.extend(known.cloned());
            }
            (Entity::None | Entity::Offset, Value::Number(number))
                if matches!(spec.ty, FieldType::Int64) =>
            {
                let known = number.as_i64().and_then(|number| self.numbers.get(&number));
                found.extend(known.cloned());
            }
            _ => {}
        }
    }
}

/// All error codes of an answer.
pub(crate) fn error_codes(api: ApiKey, answer: &Value) -> Vec<i64> {
    fn collect(fields: &[FieldSpec], value: &Value, codes: &mut Vec<i64>) {
        for spec in fields {
            let elements = match &value[spec.name] {
                Value::Array(elements) => elements.as_slice(),
                Value::Null => &[],
                value => std::slice::from_ref(value),
            };
            match spec.ty {
                FieldType::Struct(inner) => {
                    elements
                        .iter()
                        .for_each(|value| collect(inner, value, codes));
                }
                _ if spec.entity == Entity::ErrorCode => {
                    codes.extend(elements.iter().filter_map(Value::as_i64));
                }
                _ => {}
            }
        }
    }
    let mut codes = Vec::new();
    if let Some(spec) = api.spec() {
        collect(spec.response.fields, answer, &mut codes);
    }
    codes
}

/// What was heard where it must not be.
#[derive(Clone, Debug)]
pub(crate) struct Finding {
    /// Who heard it, and in answer to what.
    pub(crate) place: String,
    /// What it is.
    pub(crate) what: String,
    /// The bytes of both.
    pub(crate) request: Vec<u8>,
    pub(crate) answer: Vec<u8>,
}

impl Finding {
    /// For people.
    pub(crate) fn describe(&self) -> String {
        let short = |bytes: &[u8]| hex(&bytes[..bytes.len().min(400)]);
        let Finding { place, what, .. } = self;
        let (request, answer) = (short(&self.request), short(&self.answer));
        format!("{place}: {what}\n    request {request}\n    answer  {answer}")
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn markers() -> Markers {
        let mut markers = Markers::default();
        markers.text("scabcdefgh", "a secret");
        markers.known_id([7; 16], "an id");
        markers.number(1 << 52 | 5, "an offset");
        markers.number(20_402, "an end");
        markers.prefix("vax", ["orders", "vaxorders"].into_iter());
        markers.cluster("vax@id".to_owned(), [("gw.test".to_owned(), 9001)].into());
        markers
    }

    fn found(bytes: &[u8]) -> Vec<String> {
        markers()
            .search(bytes, &Sent::default())
            .into_iter()
            .collect()
    }

    #[test]
    fn bytes_are_searched() {
        assert_eq!(found(b"nothing at all"), [""; 0]);
        assert_eq!(found(b"..vbscabcdefgh.."), ["a secret"]);
        assert_eq!(found(&[7; 17]), ["an id"]);
        assert_eq!(found(&(1_i64 << 52 | 5).to_be_bytes()), ["an offset"]);
    }

    #[test]
    fn names_of_kafka_are_told_from_what_was_said() {
        assert_eq!(found(b"vax@id and vaxorders"), [""; 0]);
        assert_eq!(found(b"vaxother").len(), 1);
    }

    #[test]
    fn what_was_sent_may_come_back() {
        let markers = markers();
        let mut sent = Sent::default();
        markers.note(&[[0; 16], [7; 16]].concat(), &mut sent);
        assert!(markers.search(&[7; 16], &sent).is_empty());
    }

    #[test]
    fn fields_are_searched() {
        let find = |answer: Value| markers().search_fields(ApiKey::METADATA, &answer);
        let broker = |host: &str, port: i32| json!({ "Brokers": [{ "NodeId": 1, "Host": host, "Port": port }], "ClusterId": "vax@id" });
        assert!(find(broker("gw.test", 9001)).is_empty());
        assert_eq!(find(broker("gw.test", 9002)).len(), 1);
        assert_eq!(find(broker("kafka", 9001)).len(), 1);
        assert_eq!(find(json!({ "ClusterId": "id" })).len(), 1);
        let answer = json!({ "Topics": [{ "Partitions": [{ "Offset": 20_402 }] }] });
        assert_eq!(
            markers().search_fields(ApiKey::LIST_OFFSETS, &answer).len(),
            1
        );
    }
}
