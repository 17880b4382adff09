//! The ports of a listener.

use std::collections::BTreeSet;
use std::fmt;

use crate::catalogue::Kind;

/// A port as clients see it and the port bound here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortPair {
    /// Told to clients.
    pub advertised: u16,
    /// Bound.
    pub local: u16,
}

/// The ports of a listener, slot by slot: slot 0 belongs to node id `GATEWAY_MIN_BROKERID`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PortPlan {
    /// As listed.
    Explicit(Vec<PortPair>),
    /// Consecutive ports. `count: None` is computed from the brokers seen at start: `(highest id - GATEWAY_MIN_BROKERID) + 3`.
    FromStart {
        /// First port, both advertised and local.
        start: u16,
        /// At least 1; `start + count - 1` is at most 65535.
        count: Option<u16>,
    },
}

impl PortPlan {
    /// Whether `port` is bound by this plan; with an open count, whether it is the first port.
    pub fn has_local(&self, port: u16) -> bool {
        match self {
            Self::Explicit(pairs) => pairs.iter().any(|pair| pair.local == port),
            Self::FromStart { start, count } => (u32::from(*start)
                ..u32::from(*start) + u32::from(count.unwrap_or(1)))
                .contains(&u32::from(port)),
        }
    }
}

/// `6969-6971`, `29092-29093:9092-9093,29100:9100`, or `6969-` with an open count.
impl fmt::Display for PortPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromStart { start, count: None } => write!(f, "{start}-"),
            Self::FromStart {
                start,
                count: Some(count),
            } => write!(f, "{}", Span(*start, *count - 1)),
            Self::Explicit(pairs) => {
                let mut rest = pairs.as_slice();
                let mut separator = "";
                while let Some((first, tail)) = rest.split_first() {
                    let more = tail
                        .iter()
                        .zip(1u16..)
                        .take_while(|(pair, i)| {
                            Some(pair.advertised) == first.advertised.checked_add(*i)
                                && Some(pair.local) == first.local.checked_add(*i)
                        })
                        .count();
                    let more = u16::try_from(more).unwrap_or(u16::MAX);
                    write!(f, "{separator}{}", Span(first.advertised, more))?;
                    if first.advertised != first.local {
                        write!(f, ":{}", Span(first.local, more))?;
                    }
                    separator = ",";
                    rest = tail.get(usize::from(more)..).unwrap_or_default();
                }
                Ok(())
            }
        }
    }
}

/// A first port and how many follow it.
struct Span(u16, u16);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(first, 0) => write!(f, "{first}"),
            Self(first, more) => write!(f, "{first}-{}", u32::from(*first) + u32::from(*more)),
        }
    }
}

/// Reads `spec = item *( "," item )`, `item = ports [ ":" ports ]`, `ports = port / port "-" port`; left advertised, right local.
///
/// # Errors
/// What was expected instead.
pub(crate) fn parse(spec: &str) -> Result<Vec<PortPair>, String> {
    let mut pairs: Vec<PortPair> = Vec::new();
    let (mut advertised_seen, mut local_seen) = (BTreeSet::new(), BTreeSet::new());
    for item in spec.split(',') {
        let (left, right) = item.split_once(':').unwrap_or((item, item));
        let (advertised, local) = (range(left)?, range(right)?);
        if advertised.len() != local.len() {
            return Err(format!(
                "as many ports on the left of ':' as on its right (found {} and {})",
                advertised.len(),
                local.len()
            ));
        }
        for (advertised, local) in advertised.zip(local) {
            if !advertised_seen.insert(advertised) {
                return Err(format!(
                    "every advertised port once (found {advertised} twice)"
                ));
            }
            if !local_seen.insert(local) {
                return Err(format!("every local port once (found {local} twice)"));
            }
            pairs.push(PortPair { advertised, local });
        }
    }
    Ok(pairs)
}

fn range(text: &str) -> Result<std::ops::RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(format!("ascending ranges (found {first}-{last})"));
    }
    Ok(first..=last)
}

fn port(text: &str) -> Result<u16, String> {
    let text = text.trim();
    text.parse()
        .ok()
        .filter(|port| *port > 0 && text.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(|| format!("{}, each from 1 to 65535", Kind::Ports.expected()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(spec: &str) -> Vec<(u16, u16)> {
        parse(spec)
            .expect(spec)
            .iter()
            .map(|pair| (pair.advertised, pair.local))
            .collect()
    }

    #[test]
    fn well_formed() {
        assert_eq!(pairs("9092"), [(9092, 9092)]);
        assert_eq!(pairs(" 1 - 2 , 65535 "), [(1, 1), (2, 2), (65535, 65535)]);
        assert_eq!(
            pairs("29092-29093:9092-9093,29100:9100"),
            [(29092, 9092), (29093, 9093), (29100, 9100)]
        );
    }

    #[test]
    fn malformed() {
        for (spec, part) in [
            ("", "ports as in"),
            ("a", "ports as in"),
            ("0", "1 to 65535"),
            ("65536", "1 to 65535"),
            ("+1", "1 to 65535"),
            ("1,,2", "ports as in"),
            ("1:2:3", "ports as in"),
            ("1-2-3", "ports as in"),
            ("3-1", "ascending"),
            ("1-2:1", "as many ports"),
            ("1-3,2", "advertised port once (found 2"),
            ("1:5,2:5", "local port once (found 5"),
        ] {
            let expected = parse(spec).expect_err(spec);
            assert!(expected.contains(part), "{spec}: {expected}");
        }
    }

    #[test]
    fn shown_as_written() {
        for spec in [
            "9092",
            "9092-9094",
            "29092-29093:9092-9093,29100:9100",
            "1,3,5-6",
        ] {
            assert_eq!(
                PortPlan::Explicit(parse(spec).expect(spec)).to_string(),
                spec
            );
        }
        assert_eq!(
            PortPlan::FromStart {
                start: 6969,
                count: None
            }
            .to_string(),
            "6969-"
        );
        assert_eq!(
            PortPlan::FromStart {
                start: 65535,
                count: Some(1)
            }
            .to_string(),
            "65535"
        );
        assert_eq!(
            PortPlan::FromStart {
                start: 6969,
                count: Some(3)
            }
            .to_string(),
            "6969-6971"
        );
    }

    #[test]
    fn local_ports() {
        assert!(PortPlan::Explicit(parse("1:9").expect("spec")).has_local(9));
        assert!(!PortPlan::Explicit(parse("1:9").expect("spec")).has_local(1));
        assert!(
            PortPlan::FromStart {
                start: 65535,
                count: Some(1)
            }
            .has_local(65535)
        );
        assert!(
            !PortPlan::FromStart {
                start: 10,
                count: Some(2)
            }
            .has_local(12)
        );
    }
}
