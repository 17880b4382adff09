//! The gateway's own authentication towards one cluster, made of its settings.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use aws_lc_rs::digest;
use config::{
    Jaas, OAuthClient, SaslMechanism, Secret, Store, TlsVersion, UpstreamSasl, UpstreamSecurity,
    UpstreamTls,
};
use rustls::{ClientConfig, SupportedProtocolVersion};
use rustls_pki_types::{InvalidDnsNameError, ServerName};

use crate::sasl::SaslLogin;
use crate::sasl::oauthbearer::check_extension;
use crate::sasl::plain::PlainCredentials;
use crate::sasl::scram::{ScramCredentials, ScramHash};
use crate::sasl::token::{RefreshSchedule, TokenProvider};
use crate::sasl::token_endpoint::{DEFAULT_TIMEOUT, EndpointSettings, TokenEndpoint};
use crate::sasl::unsecured::UnsecuredLogin;
use crate::tls::client::{self, ClientTls, ClientTlsError, Trust};
use crate::tls::material::{self, Identity, MaterialError};
use crate::tls::pem::Pem;
use crate::tls::server::Reload;

/// What a connection to a broker of one cluster needs to encrypt and authenticate. Cloning is cheap and shares everything.
#[derive(Clone, Debug)]
pub struct UpstreamAuth {
    tls: Option<Arc<Tls>>,
    sasl: Option<SaslLogin>,
    warnings: Arc<[Problem]>,
}

/// Key material that may be replaced while it is in use.
#[derive(Debug)]
struct Tls {
    settings: UpstreamTls,
    current: ArcSwap<Usable>,
    /// Of the files that `current` was made of.
    fingerprint: Mutex<Vec<u8>>,
}

/// What a handshake needs, and what is known of it.
#[derive(Debug)]
struct Usable {
    config: Arc<ClientConfig>,
    /// The earliest expiry in the chain of our certificate, if we have one.
    not_after: Option<SystemTime>,
}

/// What is wrong with a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Kafka's name of the setting, for example `ssl.truststore.location`.
    pub property: &'static str,
    /// What is wrong; never a secret.
    pub reason: String,
}

impl UpstreamAuth {
    /// Loads all key material and prepares the login. Blocks on files.
    ///
    /// # Errors
    /// All problems found.
    pub fn new(security: &UpstreamSecurity) -> Result<UpstreamAuth, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let tls = security
            .tls
            .as_ref()
            .and_then(|settings| Tls::load(settings, &mut problems, &mut warnings));
        let sasl = security
            .sasl
            .as_ref()
            .and_then(|sasl| login(sasl).map_err(|found| problems.extend(found)).ok());
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(UpstreamAuth {
            tls: tls.map(Arc::new),
            sasl,
            warnings: warnings.into(),
        })
    }

    /// The TLS configuration of this moment, for one handshake; `None` when the protocol does not encrypt.
    pub fn tls(&self) -> Option<Arc<ClientConfig>> {
        self.tls
            .as_ref()
            .map(|tls| tls.current.load().config.clone())
    }

    /// The earliest expiry in the chain of the client certificate in use; `None` without one.
    pub fn not_after(&self) -> Option<SystemTime> {
        self.tls
            .as_ref()
            .and_then(|tls| tls.current.load().not_after)
    }

    /// Reads the stores again if the files have changed. New connections use what they hold then, open ones go on; if a store
    /// cannot be used, everything stays as it was. Blocks on files.
    pub fn reload(&self) -> Reload {
        self.tls
            .as_ref()
            .map_or(Reload::Unchanged, |tls| tls.reload())
    }

    /// The name to give to the TLS handshake with `host`, which is a DNS name or an IP address.
    ///
    /// # Errors
    /// When the host is neither.
    pub fn server_name(&self, host: &str) -> Result<ServerName<'static>, InvalidDnsNameError> {
        client::server_name(host)
    }

    /// The login; `None` when the protocol does not authenticate by SASL.
    pub fn sasl(&self) -> Option<&SaslLogin> {
        self.sasl.as_ref()
    }

    /// What does not prevent the start, but is worth a line in the log.
    pub fn warnings(&self) -> &[Problem] {
        &self.warnings
    }
}

// === TLS ===

const TRUST_STORE: &str = "ssl.truststore.location";
const TRUST_STORE_PASSWORD: &str = "ssl.truststore.password";
const TRUST_PEM: &str = "ssl.truststore.certificates";
const KEY_STORE: &str = "ssl.keystore.location";
const KEY_STORE_PASSWORD: &str = "ssl.keystore.password";
const KEY_PEM: &str = "ssl.keystore.key";
const CHAIN_PEM: &str = "ssl.keystore.certificate.chain";
const KEY_PASSWORD: &str = "ssl.key.password";
const CIPHER_SUITES: &str = "ssl.cipher.suites";

impl Tls {
    fn load(
        settings: &UpstreamTls,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Problem>,
    ) -> Option<Tls> {
        let fingerprint = fingerprint(settings);
        let config = client_config(settings, problems, warnings)?;
        Some(Tls {
            settings: settings.clone(),
            current: ArcSwap::from_pointee(config),
            fingerprint: Mutex::new(fingerprint),
        })
    }

    fn reload(&self) -> Reload {
        let mut known = self
            .fingerprint
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Taken before the files are read: what changes in between is seen the next time.
        let found = fingerprint(&self.settings);
        if found == *known {
            return Reload::Unchanged;
        }
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        match client_config(&self.settings, &mut problems, &mut warnings) {
            Some(config) => {
                self.current.store(Arc::new(config));
                *known = found;
                Reload::Replaced
            }
            None => Reload::Failed(problems),
        }
    }
}

/// Digest of the files' contents. A file that cannot be read counts as one of its own.
fn fingerprint(settings: &UpstreamTls) -> Vec<u8> {
    let mut context = digest::Context::new(&digest::SHA256);
    for store in [&settings.keystore, &settings.truststore] {
        let bytes = store.as_ref().map(|store| material::read_file(&store.path));
        if let Some(Ok(bytes)) = bytes {
            context.update(digest::digest(&digest::SHA256, &bytes).as_ref());
        }
        context.update(b"/");
    }
    context.finish().as_ref().to_vec()
}

fn client_config(
    tls: &UpstreamTls,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Problem>,
) -> Option<Usable> {
    let trust = trust(tls).map_err(|problem| problems.push(problem)).ok();
    let identity = identity(tls).map_err(|problem| problems.push(problem)).ok();
    let (trust, identity) = (trust?, identity?);
    if let Some(identity) = identity.as_ref().filter(|found| !found.unused.is_empty()) {
        let reason = format!(
            "holds several private keys, the first in order of alias is used: '{}'",
            identity.alias
        );
        warnings.push(problem(KEY_STORE, reason));
    }
    let versions: Vec<&'static SupportedProtocolVersion> = tls
        .protocols
        .iter()
        .map(|version| match version {
            TlsVersion::V1_2 => &rustls::version::TLS12,
            TlsVersion::V1_3 => &rustls::version::TLS13,
        })
        .collect();
    let not_after = identity.as_ref().and_then(Identity::not_after);
    let built = ClientTls {
        trust,
        identity,
        verify_hostname: tls.verify_hostname,
        versions: &versions,
        cipher_suites: &tls.cipher_suites,
    }
    .build();
    match built {
        Ok((config, unknown)) => {
            for suite in unknown {
                warnings.push(problem(
                    CIPHER_SUITES,
                    format!("{suite} is not supported and left out"),
                ));
            }
            Some(Usable {
                config: Arc::new(config),
                not_after,
            })
        }
        Err(error) => {
            let property = match error {
                ClientTlsError::NoSystemRoots => TRUST_STORE,
                ClientTlsError::BadTrustedCertificate(_) if tls.truststore.is_some() => TRUST_STORE,
                ClientTlsError::BadTrustedCertificate(_) => TRUST_PEM,
                ClientTlsError::BadIdentity(_) if tls.keystore.is_some() => KEY_STORE,
                ClientTlsError::BadIdentity(_) => CHAIN_PEM,
                ClientTlsError::NoCipherSuite | ClientTlsError::CipherSuitesDoNotFit => {
                    CIPHER_SUITES
                }
            };
            problems.push(problem(property, error.to_string()));
            None
        }
    }
}

fn trust(tls: &UpstreamTls) -> Result<Trust, Problem> {
    match (&tls.truststore, &tls.truststore_pem) {
        (None, None) => Ok(Trust::System),
        (Some(_), Some(_)) => Err(problem(
            TRUST_PEM,
            format!("cannot be combined with {TRUST_STORE}"),
        )),
        (None, Some(pem)) => material::trusted(pem.as_bytes(), None)
            .map(Trust::Certificates)
            .map_err(|error| problem(TRUST_PEM, error.to_string())),
        (Some(store), None) => material::read_file(&store.path)
            .and_then(|bytes| material::trusted(&bytes, password(store)))
            .map(Trust::Certificates)
            .map_err(|error| store_problem(store, TRUST_STORE, TRUST_STORE_PASSWORD, &error)),
    }
}

fn identity(tls: &UpstreamTls) -> Result<Option<Identity>, Problem> {
    let key_password = tls.key_password.as_ref().map(Secret::expose);
    match (
        &tls.keystore,
        &tls.keystore_key_pem,
        &tls.keystore_chain_pem,
    ) {
        (None, None, None) => Ok(None),
        (Some(_), Some(_), _) => Err(problem(
            KEY_PEM,
            format!("cannot be combined with {KEY_STORE}"),
        )),
        (Some(_), None, Some(_)) => Err(problem(
            CHAIN_PEM,
            format!("cannot be combined with {KEY_STORE}"),
        )),
        (None, None, Some(_)) => Err(problem(CHAIN_PEM, format!("needs {KEY_PEM} as well"))),
        (None, Some(_), None) => Err(problem(KEY_PEM, format!("needs {CHAIN_PEM} as well"))),
        (None, Some(key), Some(chain)) => {
            let read = |property, text: &str| {
                Pem::read(text.as_bytes()).map_err(|error| problem(property, error.to_string()))
            };
            let key = read(KEY_PEM, key.expose())?;
            let chain = read(CHAIN_PEM, chain)?;
            material::identity_of_pem(&key, &chain, key_password)
                .map(Some)
                .map_err(|error| match error {
                    MaterialError::KeyWithoutCertificate => problem(CHAIN_PEM, error.to_string()),
                    _ => problem(about_key(&error).unwrap_or(KEY_PEM), error.to_string()),
                })
        }
        (Some(store), None, None) => material::read_file(&store.path)
            .and_then(|bytes| material::identity(&bytes, password(store), key_password))
            .map(Some)
            .map_err(|error| store_problem(store, KEY_STORE, KEY_STORE_PASSWORD, &error)),
    }
}

fn password(store: &Store) -> Option<&str> {
    store.password.as_ref().map(Secret::expose)
}

fn store_problem(
    store: &Store,
    location: &'static str,
    password: &'static str,
    error: &MaterialError,
) -> Problem {
    let path = store.path.display();
    match error {
        MaterialError::Read { .. } | MaterialError::TooLarge { .. } => {
            problem(location, error.to_string())
        }
        MaterialError::WrongPassword | MaterialError::MissingPassword => {
            problem(password, format!("{path}: {error}"))
        }
        _ => problem(
            about_key(error).unwrap_or(location),
            format!("{path}: {error}"),
        ),
    }
}

fn about_key(error: &MaterialError) -> Option<&'static str> {
    matches!(
        error,
        MaterialError::WrongKeyPassword | MaterialError::MissingKeyPassword
    )
    .then_some(KEY_PASSWORD)
}

// === SASL ===

const JAAS: &str = "sasl.jaas.config";
const TOKEN_ENDPOINT: &str = "sasl.oauthbearer.token.endpoint.url";

fn login(sasl: &UpstreamSasl) -> Result<SaslLogin, Vec<Problem>> {
    let misfit = || vec![problem(JAAS, "does not fit sasl.mechanism".to_owned())];
    let scram = |hash| match &sasl.jaas {
        Jaas::Scram {
            username,
            password,
            token_auth,
        } => Ok(SaslLogin::scram(ScramCredentials::new(
            hash,
            username,
            password.expose(),
            *token_auth,
        ))),
        _ => Err(misfit()),
    };
    match sasl.mechanism {
        SaslMechanism::Plain => match &sasl.jaas {
            Jaas::Plain { username, password } => plain(username, password.expose()),
            _ => Err(misfit()),
        },
        SaslMechanism::ScramSha256 => scram(ScramHash::Sha256),
        SaslMechanism::ScramSha512 => scram(ScramHash::Sha512),
        SaslMechanism::OAuthBearer => match &sasl.oauth {
            Some(oauth) => oauthbearer(oauth),
            None => Err(misfit()),
        },
    }
}

fn plain(username: &str, password: &str) -> Result<SaslLogin, Vec<Problem>> {
    if username.contains('\0') || password.contains('\0') {
        let reason = "user name and password must not contain a NUL character".to_owned();
        return Err(vec![problem(JAAS, reason)]);
    }
    Ok(SaslLogin::plain(PlainCredentials::new(username, password)))
}

fn oauthbearer(oauth: &OAuthClient) -> Result<SaslLogin, Vec<Problem>> {
    let bad_extensions: Vec<Problem> = oauth
        .extensions
        .iter()
        .filter_map(|(name, value)| check_extension(name, value).err())
        .map(|reason| problem(JAAS, reason.to_owned()))
        .collect();
    if !bad_extensions.is_empty() {
        return Err(bad_extensions);
    }
    let extensions = oauth.extensions.clone();
    let url = match &oauth.token_endpoint {
        config::TokenEndpoint::Url(url) => url,
        config::TokenEndpoint::File(path) => {
            return Ok(SaslLogin::oauthbearer(TokenProvider::file(
                path.clone(),
                extensions,
            )));
        }
        config::TokenEndpoint::Unsecured(options) => {
            let options = options.iter().map(|(key, value)| (&**key, &**value));
            let login = UnsecuredLogin::from_options(options)
                .map_err(|reason| vec![problem(JAAS, reason)])?;
            return Ok(SaslLogin::oauthbearer(TokenProvider::unsecured(
                login, extensions,
            )));
        }
    };
    let (Some(client_id), Some(client_secret)) = (&oauth.client_id, &oauth.client_secret) else {
        let reason = "clientId and clientSecret are needed for a token endpoint".to_owned();
        return Err(vec![problem(JAAS, reason)]);
    };
    let settings = EndpointSettings {
        url,
        client_id,
        client_secret: client_secret.expose(),
        scope: oauth.scope.as_deref(),
        connect_timeout: oauth.connect_timeout.unwrap_or(DEFAULT_TIMEOUT),
        read_timeout: oauth.read_timeout.unwrap_or(DEFAULT_TIMEOUT),
    };
    let endpoint = TokenEndpoint::new(&settings, system_tls)
        .map_err(|reason| vec![problem(TOKEN_ENDPOINT, reason)])?;
    let schedule = RefreshSchedule {
        window_factor: oauth.refresh_window_factor,
        window_jitter: oauth.refresh_window_jitter,
        min_period: oauth.refresh_min_period,
        buffer: oauth.refresh_buffer,
        retry_backoff: oauth.retry_backoff,
        retry_backoff_max: oauth.retry_backoff_max,
    };
    Ok(SaslLogin::oauthbearer(TokenProvider::refreshed(
        endpoint, schedule, extensions,
    )))
}

/// Verifies servers on the Internet: the system's roots, or those of `SSL_CERT_FILE`.
pub(crate) fn system_tls() -> Result<Arc<ClientConfig>, String> {
    ClientTls {
        trust: Trust::System,
        identity: None,
        verify_hostname: true,
        versions: rustls::DEFAULT_VERSIONS,
        cipher_suites: &[],
    }
    .build()
    .map(|(config, _)| Arc::new(config))
    .map_err(|error| error.to_string())
}

fn problem(property: &'static str, reason: String) -> Problem {
    Problem { property, reason }
}
