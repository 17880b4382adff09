//! Who may call what: Basic credentials, roles, and the brake on guessing.

mod throttle;
mod users;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

pub(crate) use throttle::{Throttle, network};
pub(crate) use users::User;
pub use users::Users;

use crate::audit;
use crate::error::ApiError;

/// Bytes of an attempted name that are logged.
const MAX_LOGGED_NAME: usize = 128;

/// The other side of a connection, as a request's extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// Checks the credentials of requests.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    users: Arc<Users>,
    throttle: Arc<Throttle>,
}

impl Access {
    pub(crate) fn new(users: Users) -> Self {
        Self {
            users: Arc::new(users),
            throttle: Arc::new(Throttle::default()),
        }
    }

    /// Who sends a request with these headers from this address. Addresses that have failed lately take turns, and failures are
    /// answered late.
    pub(crate) async fn authenticate(
        &self,
        headers: &HeaderMap,
        peer: Peer,
        call: &audit::Call,
    ) -> Result<User, ApiError> {
        let Some(offered) = Credentials::of(headers) else {
            // Nothing was guessed: a client may well ask first and send credentials once it was asked for them.
            return Err(ApiError::not_authenticated());
        };
        let ip: IpAddr = peer.0.ip();
        let turn = self.throttle.wait(ip, &offered.name).await;
        turn.map_err(|_| ApiError::too_many_attempts())?;
        match self.users.verify(&offered.name, &offered.password) {
            Some(user) => {
                self.throttle.succeeded(ip, &offered.name);
                Ok(user)
            }
            None => {
                audit::login_failed(call, peer, &offered.shown_name());
                self.throttle.failed(ip, &offered.name).await;
                Err(ApiError::not_authenticated())
            }
        }
    }
}

/// What a header `Authorization` offers. A header that cannot be read is a wrong guess.
struct Credentials {
    name: Vec<u8>,
    password: Vec<u8>,
}

impl Credentials {
    fn of(headers: &HeaderMap) -> Option<Self> {
        let header = headers.get(AUTHORIZATION)?;
        let read = header.to_str().ok().and_then(|text| {
            let (scheme, value) = text.trim().split_once(' ')?;
            let is_basic = scheme.eq_ignore_ascii_case("basic");
            let mut name = STANDARD.decode(value.trim()).ok().filter(|_| is_basic)?;
            let colon = name.iter().position(|byte| *byte == b':')?;
            let password = name.split_off(colon + 1);
            name.pop();
            Some(Self { name, password })
        });
        Some(read.unwrap_or(Self {
            name: Vec::new(),
            password: Vec::new(),
        }))
    }

    fn shown_name(&self) -> String {
        let name = self.name.get(..MAX_LOGGED_NAME).unwrap_or(&self.name);
        String::from_utf8_lossy(name).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::http::{HeaderValue, Method};
    use config::{AdminUser, Secret};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn failures_are_answered_late_and_slow_their_address_down() {
        let ann = AdminUser {
            username: "ann".into(),
            password: Secret::new("right"),
            admin: true,
        };
        let access = Access::new(Users::new(&[ann]).expect("users"));
        let pause = Duration::from_millis(100);
        let attempt = async |address: &str, password: &str| {
            let start = Instant::now();
            let value = format!("Basic {}", STANDARD.encode(format!("ann:{password}")));
            let headers = HeaderMap::from_iter([(
                AUTHORIZATION,
                HeaderValue::from_str(&value).expect("a value"),
            )]);
            let call = audit::Call::new(&Method::GET, "/", &headers);
            let peer = Peer(address.parse().expect("address"));
            let outcome = access.authenticate(&headers, peer, &call).await;
            (outcome.is_ok(), start.elapsed())
        };
        let (first, second) = ("10.0.0.1:1", "10.0.0.2:1");
        assert_eq!(attempt(first, "right").await, (true, Duration::ZERO));
        assert_eq!(attempt(first, "wrong").await, (false, pause));
        let later = async |address| {
            tokio::task::yield_now().await;
            attempt(address, "right").await
        };
        let outcomes = tokio::join!(attempt(first, "wrong"), later(first), later(second));
        let at_once = (true, Duration::ZERO);
        assert_eq!(outcomes, ((false, pause), at_once, at_once));
        let third = "10.0.0.3:1";
        let outcomes = tokio::join!(attempt(third, "wrong"), later(third), later(third));
        assert_eq!(
            outcomes,
            ((false, pause), (true, pause), (true, 2 * pause)),
            "who has not logged in before takes turns"
        );
        let without = HeaderMap::new();
        let call = audit::Call::new(&Method::GET, "/", &without);
        let start = Instant::now();
        let peer = Peer(first.parse().expect("address"));
        assert!(access.authenticate(&without, peer, &call).await.is_err());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
