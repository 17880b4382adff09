//! The users of the admin API, known by salted hashes.

use std::sync::Arc;

use aws_lc_rs::hmac;
use aws_lc_rs::rand;
use config::AdminUser;

/// A user whose password was right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    /// As configured.
    pub(crate) name: Arc<str>,
    /// May write; others only read.
    pub(crate) admin: bool,
}

/// All users. Names and passwords are not kept, only their keyed hashes, each under a random key of its own.
pub struct Users(Vec<Entry>);

struct Entry {
    user: User,
    key: hmac::Key,
    tag: hmac::Tag,
}

impl Users {
    /// Hashes the passwords.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(users: &[AdminUser]) -> std::io::Result<Self> {
        let entry = |user: &AdminUser| -> std::io::Result<Entry> {
            let mut salt = [0; 32];
            rand::fill(&mut salt)
                .map_err(|_| std::io::Error::other("the system gives no random bytes"))?;
            let key = hmac::Key::new(hmac::HMAC_SHA256, &salt);
            let offered = message(user.username.as_bytes(), user.password.expose().as_bytes());
            Ok(Entry {
                user: User {
                    name: user.username.as_str().into(),
                    admin: user.admin,
                },
                tag: hmac::sign(&key, &offered),
                key,
            })
        };
        Ok(Self(users.iter().map(entry).collect::<Result<_, _>>()?))
    }

    /// Nobody.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// The user with this name and password. Every attempt is compared with every user, in constant time, so that its duration
    /// tells neither which names exist nor how much of a password was right.
    pub(crate) fn verify(&self, name: &[u8], password: &[u8]) -> Option<User> {
        let offered = message(name, password);
        let mut found = None;
        for entry in &self.0 {
            if hmac::verify(&entry.key, &offered, entry.tag.as_ref()).is_ok() {
                found = Some(&entry.user);
            }
        }
        found.cloned()
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = self.0.iter().map(|entry| &entry.user);
        f.debug_list().entries(names).finish()
    }
}

/// Name and password so that no two pairs give the same bytes.
fn message(name: &[u8], password: &[u8]) -> Vec<u8> {
    [&(name.len() as u64).to_be_bytes(), name, password].concat()
}

#[cfg(test)]
mod tests {
    use config::Secret;

    use super::*;

    fn users() -> Users {
        let user = |name: &str, password: &str, admin| AdminUser {
            username: name.into(),
            password: Secret::new(password),
            admin,
        };
        Users::new(&[user("ann", "pass:word", true), user("bob", "x", false)]).expect("users")
    }

    #[test]
    fn only_the_right_pair() {
        let users = users();
        let ann = users.verify(b"ann", b"pass:word").expect("ann");
        assert_eq!((&*ann.name, ann.admin), ("ann", true));
        assert!(!users.verify(b"bob", b"x").expect("bob").admin);
        for (name, password) in [
            ("ann", "x"),
            ("bob", "pass:word"),
            ("ann", ""),
            ("", ""),
            ("annp", "ass:word"),
            ("Ann", "pass:word"),
            ("ann", "pass:word "),
            ("carol", "x"),
        ] {
            let found = users.verify(name.as_bytes(), password.as_bytes());
            assert_eq!(found, None, "{name}:{password}");
        }
    }

    #[test]
    fn passwords_are_not_printed() {
        let shown = format!("{:?}", users());
        assert!(shown.contains("ann") && !shown.contains("pass"), "{shown}");
    }
}
