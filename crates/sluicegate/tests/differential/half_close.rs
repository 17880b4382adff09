//! Clients that close their side of a connection as soon as they have asked everything.

use std::io::Read;
use std::net::Shutdown;

use testkit::raw::{RawClient, Request};
use testkit::{Error, Result};

use crate::way::Side;
use crate::world::World;

const METADATA: Request<'static> = Request {
    api: 3,
    version: 1,
    flexible: false,
    client_id: "half-close",
    body: &[0, 0, 0, 0],
};

const API_VERSIONS: Request<'static> = Request {
    api: 18,
    version: 0,
    body: &[],
    ..METADATA
};

/// For any topic, of which there is none: waits for half a second.
const FETCH: Request<'static> = Request {
    api: 1,
    version: 4,
    // replica, longest wait, least and most bytes, isolation, topics
    body: &[
        255, 255, 255, 255, 0, 0, 1, 244, 0, 0, 0, 1, 0, 0, 16, 0, 0, 0, 0, 0, 0,
    ],
    ..METADATA
};

/// The correlation ids that are answered before the connection is closed.
fn answered(side: &Side, asked: &[Request<'_>]) -> Result<Vec<i32>> {
    let address = side
        .doors
        .values()
        .next()
        .ok_or(Error::Answer("no broker".into()))?;
    let mut client = RawClient::connect(address)?;
    let frames = asked.iter().zip(1..).map(|(asked, id)| asked.frame(id));
    client.send_bytes(&frames.collect::<Vec<_>>().concat())?;
    let broken = || Error::io("half a connection");
    client
        .stream()
        .shutdown(Shutdown::Write)
        .map_err(broken())?;
    let mut bytes = Vec::new();
    client.stream().read_to_end(&mut bytes).map_err(broken())?;
    let mut rest = &bytes[..];
    let mut ids = Vec::new();
    while let Some((len, more)) = rest.split_first_chunk() {
        let (frame, more) = more.split_at(u32::from_be_bytes(*len) as usize);
        ids.extend(frame.first_chunk().map(|id| i32::from_be_bytes(*id)));
        rest = more;
    }
    Ok(ids)
}

#[test]
fn all_is_answered_that_was_asked_before_the_end() -> Result<()> {
    let world = World::get();
    for side in [&world.direct, &world.gateway] {
        for _ in 0..10 {
            assert_eq!(answered(side, &[METADATA])?, [1], "{side:?}");
            let several = [METADATA, API_VERSIONS, FETCH, METADATA, METADATA];
            assert_eq!(answered(side, &several)?, [1, 2, 3, 4, 5], "{side:?}");
        }
    }
    Ok(())
}
