//! How a client reaches a cluster and proves who it is, in the words of Java and of librdkafka.

use crate::cert::{STORE_PASSWORD, Stores};
use std::time::Duration;

/// Address, encryption, credentials and further settings of a client.
#[derive(Clone, Debug)]
pub struct Access {
    bootstrap: String,
    tls: Option<Stores>,
    certificate: Option<Stores>,
    login: Option<Login>,
    patience: Duration,
    java: Vec<(String, String)>,
    librdkafka: Vec<(String, String)>,
}

/// SASL credentials.
#[derive(Clone, Debug)]
pub enum Login {
    /// `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    Password {
        /// The mechanism.
        mechanism: &'static str,
        /// User name.
        user: String,
        /// Password.
        password: String,
    },
    /// `OAUTHBEARER` with this token.
    Token(String),
    /// `OAUTHBEARER` with a token that this URL gives as the body of an answer, asked again before it ends.
    TokenUrl(String),
}

impl Login {
    /// `PLAIN`.
    pub fn plain(user: &str, password: &str) -> Login {
        Login::Password {
            mechanism: "PLAIN",
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }
}

impl Access {
    /// No encryption and no credentials.
    pub fn new(bootstrap: &str) -> Access {
        Access {
            bootstrap: bootstrap.to_owned(),
            tls: None,
            certificate: None,
            login: None,
            patience: Duration::from_secs(60),
            java: Vec::new(),
            librdkafka: Vec::new(),
        }
    }

    /// TLS that trusts the authority of `stores`.
    pub fn tls(mut self, stores: &Stores) -> Access {
        self.tls = Some(stores.clone());
        self
    }

    /// Shows the certificate of `stores`.
    pub fn certificate(mut self, stores: &Stores) -> Access {
        self.certificate = Some(stores.clone());
        self
    }

    /// SASL.
    pub fn login(mut self, login: Login) -> Access {
        self.login = Some(login);
        self
    }

    /// How long metadata is waited for; 60 s if not set.
    pub fn patience(mut self, limit: Duration) -> Access {
        self.patience = limit;
        self
    }

    /// Further settings of a Java client.
    pub fn java(mut self, settings: &[(&str, &str)]) -> Access {
        self.java.extend(owned(settings));
        self
    }

    /// Further settings of librdkafka.
    pub fn librdkafka(mut self, settings: &[(&str, &str)]) -> Access {
        self.librdkafka.extend(owned(settings));
        self
    }

    /// The settings for a Java client that has `RoundTrip` of the driver on its class path.
    pub fn java_settings(&self) -> Vec<(String, String)> {
        let mut all = self.common();
        let mut set = |key: &str, value: String| all.push((key.to_owned(), value));
        set("max.block.ms", self.patience.as_millis().to_string());
        for (kind, path) in [
            ("trust", self.tls.as_ref().map(|stores| &stores.trust_p12)),
            ("key", self.certificate.as_ref().map(|s| &s.key_p12)),
        ] {
            if let Some(path) = path {
                set(&format!("ssl.{kind}store.type"), "PKCS12".to_owned());
                set(
                    &format!("ssl.{kind}store.location"),
                    path.display().to_string(),
                );
                set(
                    &format!("ssl.{kind}store.password"),
                    STORE_PASSWORD.to_owned(),
                );
            }
        }
        match &self.login {
            None => {}
            Some(Login::Password {
                mechanism,
                user,
                password,
            }) => {
                let module = match *mechanism {
                    "PLAIN" => "plain.PlainLoginModule",
                    _ => "scram.ScramLoginModule",
                };
                set(
                    "sasl.jaas.config",
                    jaas(module, &[("username", user), ("password", password)]),
                );
            }
            Some(Login::Token(token)) => set("sasl.jaas.config", bearer(("token", token))),
            Some(Login::TokenUrl(url)) => set("sasl.jaas.config", bearer(("url", url))),
        }
        if matches!(self.login, Some(Login::Token(_) | Login::TokenUrl(_))) {
            set(
                "sasl.login.callback.handler.class",
                "RoundTrip$Tokens".to_owned(),
            );
            // Tokens of a few seconds are renewed in time.
            set("sasl.login.refresh.min.period.seconds", "0".to_owned());
            set("sasl.login.refresh.buffer.seconds", "0".to_owned());
        }
        all.extend(self.java.clone());
        all
    }

    /// The settings for the librdkafka side of the driver.
    pub fn librdkafka_settings(&self) -> Vec<(String, String)> {
        let mut all = self.common();
        let mut set = |key: &str, value: String| all.push((key.to_owned(), value));
        set("patience.ms", self.patience.as_millis().to_string());
        if let Some(stores) = &self.tls {
            set("ssl.ca.location", stores.pem.trust.display().to_string());
        }
        if let Some(stores) = &self.certificate {
            let both = stores.pem.key.display().to_string();
            set("ssl.certificate.location", both.clone());
            set("ssl.key.location", both);
        }
        match &self.login {
            None => {}
            Some(Login::Password { user, password, .. }) => {
                set("sasl.username", user.clone());
                set("sasl.password", password.clone());
            }
            Some(Login::Token(token)) => set("sasl.oauthbearer.config", format!("token {token}")),
            Some(Login::TokenUrl(url)) => set("sasl.oauthbearer.config", format!("url {url}")),
        }
        all.extend(self.librdkafka.clone());
        all
    }

    fn common(&self) -> Vec<(String, String)> {
        let protocol = match (&self.tls, &self.login) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        };
        let mut all = owned(&[
            ("bootstrap.servers", &self.bootstrap),
            ("security.protocol", protocol),
        ]);
        let mechanism = match &self.login {
            None => return all,
            Some(Login::Password { mechanism, .. }) => mechanism,
            Some(Login::Token(_) | Login::TokenUrl(_)) => "OAUTHBEARER",
        };
        all.push(("sasl.mechanism".to_owned(), mechanism.to_owned()));
        all
    }
}

fn bearer(option: (&str, &str)) -> String {
    jaas("oauthbearer.OAuthBearerLoginModule", &[option])
}

fn jaas(module: &str, options: &[(&str, &str)]) -> String {
    let options: String = options
        .iter()
        .map(|(key, value)| format!(" {key}=\"{value}\""))
        .collect();
    format!("org.apache.kafka.common.security.{module} required{options};")
}

fn owned(settings: &[(&str, &str)]) -> Vec<(String, String)> {
    settings
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}
