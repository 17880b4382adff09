//! PLAIN (RFC 4616), server side; the password is a token of the gateway.

use std::time::Duration;

use super::failure::{AuthFailure, FailureReason};
use super::gateway_token::GatewayTokens;
use crate::accounts::{Accounts, Identity, IdentityKind};

/// The three parts of the one message.
pub(super) struct PlainMessage<'a> {
    pub(super) authorization_id: &'a str,
    pub(super) username: &'a str,
    password: &'a str,
}

impl<'a> PlainMessage<'a> {
    /// Takes the message apart; parts may be empty.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(bytes).ok()?.split('\0');
        let message = Self {
            authorization_id: parts.next()?,
            username: parts.next()?,
            password: parts.next()?,
        };
        parts.next().is_none().then_some(message)
    }
}

/// Checks the message in the order that the cause of a failure depends on. Gives the identity and the end of the
/// token's life. Both times are since 1970.
pub(super) fn authenticate(
    bytes: &[u8],
    tokens: &GatewayTokens,
    accounts: &Accounts,
    now: Duration,
) -> Result<(Identity, Duration), AuthFailure> {
    let message = PlainMessage::parse(bytes).ok_or_else(|| {
        AuthFailure::new(FailureReason::Malformed("not three parts of text"), None)
    })?;
    let username = message.username;
    let failed = |reason| AuthFailure::new(reason, Some(username));
    if username.is_empty() {
        return Err(failed(FailureReason::MissingUsername));
    }
    if message.password.is_empty() {
        return Err(failed(FailureReason::MissingPassword));
    }
    if !message.authorization_id.is_empty() && message.authorization_id != username {
        return Err(failed(FailureReason::ForeignAuthorizationId));
    }
    let claims = tokens
        .verify(message.password)
        .map_err(|defect| failed(FailureReason::WrongCredentials(defect)))?;
    if claims.expires <= now {
        return Err(failed(FailureReason::TokenExpired {
            username: claims.username,
            vcluster: claims.vcluster,
            expired_at: claims.expires.as_secs(),
        }));
    }
    if claims.username != username {
        return Err(failed(FailureReason::TokenOfAnotherUser {
            claimed: claims.username,
        }));
    }
    let Some(account) = accounts.local(&claims.vcluster, username) else {
        return Err(failed(FailureReason::NoLocalAccount {
            vcluster: claims.vcluster,
        }));
    };
    if account.incarnation.as_deref() != claims.incarnation.as_deref() {
        return Err(failed(FailureReason::TokenOfDeletedAccount {
            vcluster: claims.vcluster,
        }));
    }
    let identity = Identity {
        vcluster: account.vcluster.clone(),
        name: account.name.clone(),
        authenticated_name: account.name.clone(),
        kind: IdentityKind::Token,
        has_account: true,
        incarnation: account.incarnation.clone(),
    };
    Ok((identity, claims.expires))
}
