//! Names of topics inside the opaque bytes of classic groups.
//!
//! Subscriptions and assignments of the protocol type `consumer` are bytes to Kafka's protocol, and yet brokers read the topics in them: for
//! the expiry of offsets, for OffsetDelete, for the move of a group to the new protocol. So they get physical names. Where one of them is
//! that of an alias's target the way back would be lost; then the logical names follow in a trailer behind the last field, which readers
//! of these bytes ignore.

use crate::tenant::Tenant;

/// What the bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blob {
    /// `version, [topic], user data`, from version 1 on `[topic, [partition]]`, and more.
    Subscription,
    /// `version, [topic, [partition]], user data`.
    Assignment,
}

/// At the very end, before the length of the trailer: nothing that a client would write by chance.
const MAGIC: &[u8; 8] = b"\x00slgate\x01";

/// Names in one list. More than this are left as they are, which harms nobody but the group: brokers then know nothing of its topics.
const MAX_NAMES: usize = 20_000;

/// Its length and the magic.
const FOOTER: usize = 4 + MAGIC.len();

/// With physical names. Names that no topic of the virtual cluster can have are left out. `None`: not understood, to be left as it is.
pub(crate) fn up(blob: Blob, bytes: &[u8], tenant: &Tenant) -> Option<Vec<u8>> {
    let (bytes, _forged) = split_trailer(bytes);
    let parsed = Parsed::read(blob, bytes)?;
    let mut names = Vec::new();
    let mut needs_trailer = false;
    let out = parsed.write(&mut |name| {
        // Under its physical name it would be another's.
        if !tenant.has_topic(name) {
            return None;
        }
        needs_trailer |= tenant.is_alias(name);
        names.push(name.to_owned());
        Some(tenant.topic(name).as_str().to_owned())
    });
    Some(match needs_trailer {
        true => with_trailer(out, &names),
        false => out,
    })
}

/// With logical names. Topics that the virtual cluster does not have are left out. `None`: not understood.
pub(crate) fn down(blob: Blob, bytes: &[u8], tenant: &Tenant) -> Option<Vec<u8>> {
    let (bytes, names) = split_trailer(bytes);
    let parsed = Parsed::read(blob, bytes)?;
    let mut names = names.into_iter();
    Some(parsed.write(&mut |physical| {
        let said = names.next();
        let said = said.filter(|name| tenant.topic(name).as_str() == physical);
        said.or_else(|| tenant.logical_topics(physical).next().map(str::to_owned))
    }))
}

/// The fields that matter, and what is around them.
struct Parsed<'a> {
    version: &'a [u8],
    /// Bare names: the subscription's topics.
    topics: Option<Vec<&'a str>>,
    /// User data of a subscription, with its length.
    user_data: &'a [u8],
    /// Names with partitions, which are kept as bytes.
    partitions: Option<Vec<(&'a str, &'a [u8])>>,
    rest: &'a [u8],
}

impl<'a> Parsed<'a> {
    fn read(blob: Blob, bytes: &'a [u8]) -> Option<Parsed<'a>> {
        let mut reader = Reader(bytes);
        let version = reader.take(2)?;
        let number = i16::from_be_bytes([version[0], version[1]]);
        if number < 0 {
            return None;
        }
        let (topics, user_data, has_partitions) = match blob {
            Blob::Subscription => {
                let topics = reader.list(Reader::name)?;
                let user_data = reader.nullable_bytes()?;
                (Some(topics), user_data, number >= 1)
            }
            Blob::Assignment => (None, &[][..], true),
        };
        let partitions = match has_partitions {
            true => Some(reader.list(Reader::topic_partitions)?),
            false => None,
        };
        Some(Parsed {
            version,
            topics,
            user_data,
            partitions,
            rest: reader.0,
        })
    }

    fn write(&self, rename: &mut dyn FnMut(&str) -> Option<String>) -> Vec<u8> {
        let mut out = self.version.to_vec();
        if let Some(topics) = &self.topics {
            let kept = topics.iter().filter_map(|name| rename(name));
            write_list(&mut out, kept.map(|name| (name, &[][..])));
        }
        out.extend_from_slice(self.user_data);
        if let Some(partitions) = &self.partitions {
            let kept = partitions
                .iter()
                .filter_map(|(name, partitions)| Some((rename(name)?, *partitions)));
            write_list(&mut out, kept);
        }
        out.extend_from_slice(self.rest);
        out
    }
}

fn write_list<'a>(out: &mut Vec<u8>, list: impl Iterator<Item = (String, &'a [u8])>) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    let mut count = 0_u32;
    for (name, behind) in list {
        // A prefix and a name that was in the 16 bits before: cut short rather than taken for another length.
        let len = i16::try_from(name.len()).unwrap_or(i16::MAX);
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(&name.as_bytes()[..len as usize]);
        out.extend_from_slice(behind);
        count += 1;
    }
    out[at..at + 4].copy_from_slice(&count.to_be_bytes());
}

fn with_trailer(mut out: Vec<u8>, names: &[String]) -> Vec<u8> {
    let start = out.len();
    for name in names {
        out.extend_from_slice(&u16::try_from(name.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(name.as_bytes());
    }
    let len = u32::try_from(out.len() - start + FOOTER).unwrap_or(0);
    out.extend_from_slice(&len.to_be_bytes());
    out.extend_from_slice(MAGIC);
    out
}

/// The bytes without a trailer, and the names in it.
fn split_trailer(bytes: &[u8]) -> (&[u8], Vec<String>) {
    let none = (bytes, Vec::new());
    let Some((before, magic)) = bytes.split_last_chunk::<{ MAGIC.len() }>() else {
        return none;
    };
    let Some((_, len)) = before.split_last_chunk::<4>().filter(|_| magic == MAGIC) else {
        return none;
    };
    let len = u32::from_be_bytes(*len) as usize;
    let Some(start) = bytes.len().checked_sub(len).filter(|_| len >= FOOTER) else {
        return none;
    };
    let mut reader = Reader(&bytes[start..bytes.len() - FOOTER]);
    let mut names = Vec::new();
    while let Some(name) = reader.name() {
        names.push(name.to_owned());
    }
    (&bytes[..start], names)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(i32::from_be_bytes(*bytes))
    }

    fn name(&mut self) -> Option<&'a str> {
        let (len, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        let len = usize::try_from(i16::from_be_bytes(*len)).ok()?;
        std::str::from_utf8(self.take(len)?).ok()
    }

    /// A count, and what it counts.
    fn list<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = usize::try_from(self.int()?).ok()?;
        if count > MAX_NAMES {
            return None;
        }
        // Each takes two bytes at least.
        let mut list = Vec::with_capacity(count.min(self.0.len() / 2));
        for _ in 0..count {
            list.push(element(self)?);
        }
        Some(list)
    }

    fn topic_partitions(&mut self) -> Option<(&'a str, &'a [u8])> {
        let name = self.name()?;
        let all = self.0;
        let count = usize::try_from(self.int()?).ok()?;
        self.take(count.checked_mul(4)?)?;
        Some((name, &all[..all.len() - self.0.len()]))
    }

    fn nullable_bytes(&mut self) -> Option<&'a [u8]> {
        let all = self.0;
        if let Ok(len) = usize::try_from(self.int()?) {
            self.take(len)?;
        }
        Some(&all[..all.len() - self.0.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tenant::{AliasDefinition, Definition, Tenants};

    fn tenant(aliases: bool) -> Tenants {
        let define = |name: &str| Definition {
            name: name.to_owned(),
            ..Definition::default()
        };
        let alias = |name: &str| AliasDefinition {
            vcluster: "A".to_owned(),
            name: name.to_owned(),
            target: "raw".to_owned(),
        };
        let aliases = ["x", "y"].map(alias).into_iter().filter(|_| aliases);
        Tenants::new(vec![define("A"), define("AB")], [], aliases)
    }

    fn name(name: &str) -> Vec<u8> {
        [&(name.len() as i16).to_be_bytes(), name.as_bytes()].concat()
    }

    fn subscription(version: i16, topics: &[&str], owned: &[&str], rest: &[u8]) -> Vec<u8> {
        let mut out = version.to_be_bytes().to_vec();
        out.extend((topics.len() as i32).to_be_bytes());
        topics.iter().for_each(|topic| out.extend(name(topic)));
        out.extend([0, 0, 0, 2, 9, 9]);
        if version >= 1 {
            out.extend((owned.len() as i32).to_be_bytes());
            for topic in owned {
                out.extend(name(topic));
                out.extend([0, 0, 0, 1, 0, 0, 0, 7]);
            }
        }
        out.extend_from_slice(rest);
        out
    }

    #[test]
    fn plain_names_come_back() {
        let tenants = tenant(false);
        let a = tenants.get("A").unwrap();
        for version in 0..4 {
            let bytes = subscription(version, &["o", "p"], &["o"], b"more");
            let physical = up(Blob::Subscription, &bytes, a).unwrap();
            let owned = &["Ao"][..usize::from(version > 0)];
            assert_eq!(
                physical,
                subscription(version, &["Ao", "Ap"], owned, b"more")
            );
            assert_eq!(down(Blob::Subscription, &physical, a).unwrap(), bytes);
        }
        let foreign = subscription(1, &["Ao", "ABp", "q"], &["ABp", "Ar"], b"");
        let seen = down(Blob::Subscription, &foreign, a).unwrap();
        assert_eq!(seen, subscription(1, &["o"], &["r"], b""));
    }

    #[test]
    fn aliases_come_back_by_the_trailer() {
        let tenants = tenant(true);
        let a = tenants.get("A").unwrap();
        let bytes = subscription(1, &["y", "o", "x"], &["y"], b"");
        let physical = up(Blob::Subscription, &bytes, a).unwrap();
        assert!(physical.starts_with(&subscription(1, &["raw", "Ao", "raw"], &["raw"], b"")));
        assert_eq!(down(Blob::Subscription, &physical, a).unwrap(), bytes);
        // One that a client has made up is neither sent nor believed.
        let forged = with_trailer(subscription(1, &["o"], &[], b""), &["x".to_owned()]);
        assert_eq!(
            up(Blob::Subscription, &forged, a).unwrap(),
            subscription(1, &["Ao"], &[], b"")
        );
        let lying = with_trailer(subscription(1, &["raw"], &[], b""), &["o".to_owned()]);
        assert_eq!(
            down(Blob::Subscription, &lying, a).unwrap(),
            subscription(1, &["x"], &[], b"")
        );
    }

    #[test]
    fn what_is_not_understood_is_left_alone() {
        let tenants = tenant(true);
        let a = tenants.get("A").unwrap();
        let good = subscription(1, &["o"], &["o"], b"");
        for cut in 0..good.len() {
            assert_eq!(up(Blob::Subscription, &good[..cut], a), None, "{cut}");
        }
        for bytes in [
            &b""[..],
            b"\0",
            b"\0\0\xff\xff\xff\xff",
            b"\0\0\x7f\xff\xff\xff",
            MAGIC,
        ] {
            assert_eq!(up(Blob::Subscription, bytes, a), None);
            assert_eq!(down(Blob::Assignment, bytes, a), None);
        }
        let mut strange = b"\0\0\0\0\0\0\xff\xff\xff\xff".to_vec();
        strange.extend(u32::MAX.to_be_bytes());
        strange.extend(MAGIC);
        assert!(up(Blob::Subscription, &strange, a).is_some());
    }
}
