//! TLS as a server: towards Kafka clients and on the admin port.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use config::{ClientAuth, Secret, Store};
use rustls::crypto::{CryptoProvider, aws_lc_rs as provider};
use rustls::server::{NoServerSessionStorage, ProducesTickets};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ServerConfig, server::ServerSessionMemoryCache};
use zeroize::Zeroizing;

use super::material::{self, Identity, MaterialError};
use super::names::{self, CertificateNames};
use super::verify_client::{ClientTrust, ClientVerifier};
use crate::Problem;

/// Which stores a [`ServerMaterial`] is made of: the label in metrics, and the settings to name in problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreNames {
    /// The label in metrics.
    pub label: &'static str,
    /// The setting that names the key store.
    pub key_store: &'static str,
    /// The setting with the key store's password.
    pub key_store_password: &'static str,
    /// The setting with the password of the key; where there is none, the one with the store's.
    pub key_password: &'static str,
    /// The setting that names the trust store.
    pub trust_store: &'static str,
    /// The setting with the trust store's password.
    pub trust_store_password: &'static str,
}

impl StoreNames {
    /// The stores of the listeners for Kafka clients.
    pub const CLIENT: StoreNames = StoreNames {
        label: "client",
        key_store: "GATEWAY_SSL_KEY_STORE_PATH",
        key_store_password: "GATEWAY_SSL_KEY_STORE_PASSWORD",
        key_password: "GATEWAY_SSL_KEY_PASSWORD",
        trust_store: "GATEWAY_SSL_TRUST_STORE_PATH",
        trust_store_password: "GATEWAY_SSL_TRUST_STORE_PASSWORD",
    };
    /// The stores of the admin port.
    pub const ADMIN: StoreNames = StoreNames {
        label: "admin",
        key_store: "GATEWAY_HTTPS_KEY_STORE_PATH",
        key_store_password: "GATEWAY_HTTPS_KEY_STORE_PASSWORD",
        key_password: "GATEWAY_HTTPS_KEY_STORE_PASSWORD",
        trust_store: "GATEWAY_HTTPS_TRUST_STORE_PATH",
        trust_store_password: "GATEWAY_HTTPS_TRUST_STORE_PASSWORD",
    };
}

/// The gateway's certificate with its key and the certificates that clients are checked against, as read from their
/// files. Gives TLS configurations that follow the files.
pub struct ServerMaterial {
    names: StoreNames,
    key_store: Store,
    key_password: Option<Secret>,
    trust_store: Option<Store>,
    current: Mutex<Current>,
}

/// A TLS configuration that is replaced when the files behind it change. Connections that are open keep what they began with.
pub struct ReloadingConfig {
    client_auth: ClientAuth,
    /// Outlives a reload, so that tickets given out before it stay good; `None` where sessions are never resumed.
    tickets: Option<Arc<dyn ProducesTickets>>,
    config: ArcSwap<ServerConfig>,
}

/// What [`ServerMaterial::reload`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files are the same.
    Unchanged,
    /// New connections use what was read now.
    Replaced,
    /// A store cannot be used, and the one read before stays in use. The other store, if it has changed, is replaced all the same.
    Failed(Vec<Problem>),
}

impl ServerMaterial {
    /// Reads the stores. Blocks on files.
    ///
    /// # Errors
    /// All problems found: unreadable or damaged stores, wrong passwords, no or a weak private key (see [`MaterialError`]).
    pub fn load(
        names: StoreNames,
        key_store: &Store,
        key_password: Option<&Secret>,
        trust_store: Option<&Store>,
    ) -> Result<Arc<ServerMaterial>, Vec<Problem>> {
        let key = read_key(&names, key_store)
            .and_then(|file| KeyPart::new(&names, key_store, key_password, &file));
        let trust = trust_store
            .map(|store| {
                read_trust(&names, store).and_then(|file| TrustPart::new(&names, store, &file))
            })
            .transpose();
        match (key, trust) {
            (Ok(key), Ok(trust)) => Ok(Arc::new(ServerMaterial {
                names,
                key_store: key_store.clone(),
                key_password: key_password.cloned(),
                trust_store: trust_store.cloned(),
                current: Mutex::new(Current {
                    key,
                    trust,
                    configs: Vec::new(),
                }),
            })),
            (key, trust) => Err(key.err().into_iter().chain(trust.err()).collect()),
        }
    }

    /// The configuration for TLS 1.2 and 1.3 with this way of asking for client certificates. Asking again for the same
    /// gives the same object.
    ///
    /// Sessions can be resumed only without client certificates: a resumed session would keep the identity of a
    /// certificate that has expired, or whose issuer is no longer trusted.
    ///
    /// # Errors
    /// When client certificates are asked for without a trust store.
    pub fn server_config(
        &self,
        client_auth: ClientAuth,
    ) -> Result<Arc<ReloadingConfig>, Vec<Problem>> {
        let mut current = self.lock();
        if let Some(known) = current
            .configs
            .iter()
            .find(|known| known.client_auth == client_auth)
        {
            return Ok(known.clone());
        }
        let tickets = match client_auth {
            ClientAuth::None => Some(provider::Ticketer::new().map_err(|error| {
                vec![Problem {
                    property: self.names.key_store,
                    reason: format!("no key for session tickets: {error}"),
                }]
            })?),
            ClientAuth::Optional | ClientAuth::Require => None,
        };
        let config = current
            .config(client_auth, tickets.clone())
            .map_err(|reason| {
                vec![Problem {
                    property: self.names.trust_store,
                    reason,
                }]
            })?;
        let reloading = Arc::new(ReloadingConfig {
            client_auth,
            tickets,
            config: ArcSwap::from_pointee(config),
        });
        current.configs.push(reloading.clone());
        Ok(reloading)
    }

    /// Reads the files again, following symbolic links, and replaces the configurations if any content has changed. Blocks
    /// on files: at most 8 MiB per store.
    pub fn reload(&self) -> Reload {
        let key_file = read_key(&self.names, &self.key_store);
        let trust_file = self
            .trust_store
            .as_ref()
            .map(|store| (store, read_trust(&self.names, store)));
        let mut current = self.lock();
        let mut problems = Vec::new();
        let mut changed = false;

        let key = key_file.and_then(|file| {
            if file.digest == current.key.digest {
                return Ok(None);
            }
            KeyPart::new(
                &self.names,
                &self.key_store,
                self.key_password.as_ref(),
                &file,
            )
            .map(Some)
        });
        match key {
            Ok(Some(key)) => {
                current.key = key;
                changed = true;
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
        let trust = trust_file.map_or(Ok(None), |(store, file)| {
            let file = file?;
            if current
                .trust
                .as_ref()
                .is_some_and(|trust| trust.digest == file.digest)
            {
                return Ok(None);
            }
            TrustPart::new(&self.names, store, &file).map(Some)
        });
        match trust {
            Ok(Some(trust)) => {
                current.trust = Some(trust);
                changed = true;
            }
            Ok(None) => {}
            Err(problem) => problems.push(problem),
        }
        if changed {
            for reloading in &current.configs {
                match current.config(reloading.client_auth, reloading.tickets.clone()) {
                    Ok(config) => reloading.config.store(Arc::new(config)),
                    Err(reason) => problems.push(Problem {
                        property: self.names.trust_store,
                        reason,
                    }),
                }
            }
        }
        match (problems.is_empty(), changed) {
            (false, _) => Reload::Failed(problems),
            (true, true) => Reload::Replaced,
            (true, false) => Reload::Unchanged,
        }
    }

    /// `client` or `admin`: the label in metrics.
    pub fn label(&self) -> &'static str {
        self.names.label
    }

    /// The earliest expiry in the chain of our certificate.
    pub fn not_after(&self) -> SystemTime {
        self.lock().key.names.not_after
    }

    /// Those of `names` (DNS names, or IP addresses as text) that our certificate's subject alternative names do not
    /// cover. A wildcard covers exactly one label.
    pub fn missing_names(&self, names: &[String]) -> Vec<String> {
        let current = self.lock();
        let missing = names
            .iter()
            .filter(|name| !current.key.names.cover(name.as_str()));
        missing.cloned().collect()
    }

    /// What does not prevent the use of the stores as they are now, but is worth a line in the log.
    pub fn warnings(&self) -> Vec<Problem> {
        self.lock().key.warning.clone().into_iter().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ReloadingConfig {
    /// The configuration for a new connection. Does not wait for a reload under way.
    pub fn current(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// How clients are asked for certificates.
    pub fn client_auth(&self) -> ClientAuth {
        self.client_auth
    }
}

impl std::fmt::Debug for ServerMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerMaterial")
            .field("label", &self.names.label)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ReloadingConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ReloadingConfig")
            .field("client_auth", &self.client_auth)
            .finish_non_exhaustive()
    }
}

/// What is in use.
struct Current {
    key: KeyPart,
    trust: Option<TrustPart>,
    configs: Vec<Arc<ReloadingConfig>>,
}

struct KeyPart {
    digest: Digest,
    certified: Arc<CertifiedKey>,
    names: CertificateNames,
    warning: Option<Problem>,
}

struct TrustPart {
    digest: Digest,
    trust: ClientTrust,
}

type Digest = [u8; digest::SHA256_OUTPUT_LEN];

struct File {
    bytes: Zeroizing<Vec<u8>>,
    digest: Digest,
}

/// Sessions kept by id for clients of TLS 1.2 that know no tickets.
const SESSIONS: usize = 1024;

impl Current {
    fn config(
        &self,
        client_auth: ClientAuth,
        tickets: Option<Arc<dyn ProducesTickets>>,
    ) -> Result<ServerConfig, String> {
        let provider = crypto();
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .map_err(|error| error.to_string())?;
        let builder = match client_auth {
            ClientAuth::None => builder.with_no_client_auth(),
            ClientAuth::Optional | ClientAuth::Require => {
                let trust = self
                    .trust
                    .as_ref()
                    .ok_or("is needed to check client certificates")?;
                let mandatory = client_auth == ClientAuth::Require;
                builder.with_client_cert_verifier(Arc::new(ClientVerifier::new(
                    &trust.trust,
                    mandatory,
                    provider,
                )?))
            }
        };
        let certificate = SingleCertAndKey::from(self.key.certified.clone());
        let mut config = builder.with_cert_resolver(Arc::new(certificate));
        match tickets {
            Some(tickets) => {
                config.ticketer = tickets;
                config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
            }
            None => {
                config.session_storage = Arc::new(NoServerSessionStorage {});
                config.send_tls13_tickets = 0;
            }
        }
        Ok(config)
    }
}

impl KeyPart {
    fn new(
        names: &StoreNames,
        store: &Store,
        key_password: Option<&Secret>,
        file: &File,
    ) -> Result<KeyPart, Problem> {
        let usable = |error: &MaterialError| {
            let about_key = matches!(
                error,
                MaterialError::WrongKeyPassword | MaterialError::MissingKeyPassword
            );
            let location = if about_key {
                names.key_password
            } else {
                names.key_store
            };
            store_problem(store, location, names.key_store_password, error)
        };
        let identity = material::identity(
            &file.bytes,
            store.password.as_ref().map(Secret::expose),
            key_password.map(Secret::expose),
        )
        .map_err(|error| usable(&error))?;
        let warning = several_keys(names, &identity);
        let Identity { key, chain, .. } = identity;
        let key = crypto()
            .key_provider
            .load_private_key(key)
            .map_err(|_| usable(&MaterialError::UnusableKey))?;
        let certificate_names = names::read(&chain).map_err(|what| {
            usable(&MaterialError::Malformed {
                format: "certificate",
                what,
            })
        })?;
        Ok(KeyPart {
            digest: file.digest,
            certified: Arc::new(CertifiedKey::new(chain, key)),
            names: certificate_names,
            warning,
        })
    }
}

impl TrustPart {
    fn new(names: &StoreNames, store: &Store, file: &File) -> Result<TrustPart, Problem> {
        let failed = |error: &MaterialError| {
            store_problem(store, names.trust_store, names.trust_store_password, error)
        };
        let certificates =
            material::trusted(&file.bytes, store.password.as_ref().map(Secret::expose))
                .map_err(|error| failed(&error))?;
        let trust = ClientTrust::new(certificates).map_err(|error| {
            failed(&MaterialError::Malformed {
                format: "trust store",
                what: error.to_string(),
            })
        })?;
        Ok(TrustPart {
            digest: file.digest,
            trust,
        })
    }
}

fn several_keys(names: &StoreNames, identity: &Identity) -> Option<Problem> {
    (!identity.unused.is_empty()).then(|| Problem {
        property: names.key_store,
        reason: format!(
            "holds several private keys, the first in order of alias is used: '{}'",
            identity.alias
        ),
    })
}

fn read_key(names: &StoreNames, store: &Store) -> Result<File, Problem> {
    read(store)
        .map_err(|error| store_problem(store, names.key_store, names.key_store_password, &error))
}

fn read_trust(names: &StoreNames, store: &Store) -> Result<File, Problem> {
    read(store).map_err(|error| {
        store_problem(store, names.trust_store, names.trust_store_password, &error)
    })
}

fn read(store: &Store) -> Result<File, MaterialError> {
    let bytes = material::read_file(&store.path)?;
    let mut sum = Digest::default();
    let digest = digest::digest(&digest::SHA256, &bytes);
    sum.copy_from_slice(digest.as_ref());
    Ok(File { bytes, digest: sum })
}

fn store_problem(
    store: &Store,
    location: &'static str,
    password: &'static str,
    error: &MaterialError,
) -> Problem {
    let path: &PathBuf = &store.path;
    let (property, reason) = match error {
        MaterialError::Read { .. } | MaterialError::TooLarge { .. } => {
            (location, error.to_string())
        }
        MaterialError::WrongPassword | MaterialError::MissingPassword => {
            (password, format!("{}: {error}", path.display()))
        }
        _ => (location, format!("{}: {error}", path.display())),
    };
    Problem { property, reason }
}

fn crypto() -> Arc<CryptoProvider> {
    Arc::new(provider::default_provider())
}

#[cfg(test)]
mod tests;
