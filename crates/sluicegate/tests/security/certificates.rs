//! Certificates that change while clients work, towards clients and towards Kafka.

use std::path::{Path, PathBuf};
use std::time::Duration;

use testkit::cert::{Authority, PemFiles, Stores, write_stores};
use testkit::driver::{Client, Task};
use testkit::process::Signal;
use testkit::{Listener, Login, Release, Result, wait};

use crate::front::{Front, Route, managed};
use crate::world::{SERVER_NAMES, client, swap_link, world};

const LIMIT: Duration = Duration::from_secs(30);

/// Key and trust stores behind a symbolic link to a folder, as Kubernetes mounts them.
struct Mount {
    root: PathBuf,
    count: u32,
}

impl Mount {
    fn new(root: PathBuf) -> Mount {
        Mount { root, count: 0 }
    }

    /// A path inside, which stays.
    fn path(&self, name: &str) -> String {
        self.root.join("data").join(name).display().to_string()
    }

    /// Puts other files into it, at once.
    fn put(&mut self, files: &PemFiles) -> Result<()> {
        self.count += 1;
        let dir = self.root.join(format!("version-{}", self.count));
        copy(&files.key, &dir.join("key.pem"))?;
        copy(&files.trust, &dir.join("trust.pem"))?;
        swap_link(&self.root.join("data"), &dir)
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let dir = to.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(dir)
        .and_then(|()| std::fs::copy(from, to))
        .map(drop)
        .map_err(testkit::Error::io(format!("copy to {}", to.display())))
}

/// Tells the gateway to look at its files, and waits until the log says that it has `count` times.
fn reload(front: &mut Front, words: &str, count: usize) -> Result<()> {
    front.gateway.process().signal(Signal::Hangup);
    wait::until("the gateway to look at its files", LIMIT, || {
        Ok((front.gateway.log().matches(words).count() >= count).then_some(()))
    })
}

/// The server's certificate comes from another authority afterwards: who trusts only that one gets in afterwards and not
/// before, and who trusts both notices nothing.
#[test]
fn towards_clients() -> Result<()> {
    let world = world()?;
    let other = Authority::new("The next authority")?;
    let dir = world.dir().join("towards-clients");
    std::fs::create_dir_all(&dir).map_err(testkit::Error::io("make a folder"))?;
    let next = other.write_pem(&other.issue_server(&SERVER_NAMES)?, &dir, "next")?;
    let only_next = other.write_stores(&other.issue_client("dave")?, &dir, "only-next")?;
    let trusted = format!("{}{}", world.cluster.authority().pem(), other.pem());
    let both = write_stores(&other.issue_client("erin")?, &trusted, &dir, "both")?;

    let mut mount = Mount::new(dir.clone());
    mount.put(&world.server)?;
    let mut front = managed(world)
        .env("GATEWAY_SSL_KEY_STORE_PATH", &mount.path("key.pem"))
        .env("GATEWAY_SSL_TRUST_STORE_PATH", &mount.path("trust.pem"))
        .listener("SASL", "SASL_SSL", Route::Sni, None)
        .start()?;
    let topic = world.topic("certificates")?;
    let login = front.login("billing")?;
    let access = |stores: &Stores| front.access("SASL").tls(stores).login(login.clone());
    let (old, new, any) = (access(&world.carol), access(&only_next), access(&both));
    let quick = |access: &testkit::Access| access.clone().patience(Duration::from_secs(2));

    let mut load = Vec::new();
    for kind in Client::ALL {
        let driver = client(kind)?;
        load.push((kind, "steady", driver.steady(&topic, &any)?));
        load.push((kind, "churn", driver.churn(&topic, &any)?));
    }
    let driver = client(Client::Java(Release::V4_3))?;
    let report = driver.run(Task::Authenticate, &topic, &quick(&new))?;
    assert!(!report.ok, "{report:?}");

    mount.put(&next)?;
    reload(&mut front, "certificates replaced", 1)?;
    for kind in Client::ALL {
        let report = client(kind)?.run(Task::RoundTrip, &topic, &new)?;
        assert!(report.ok, "{kind:?}: {report:?}");
    }
    let report = driver.run(Task::Authenticate, &topic, &quick(&old))?;
    assert!(!report.ok, "{report:?}");

    // What cannot be read changes nothing.
    let broken = dir.join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nno\n")
        .map_err(testkit::Error::io("write"))?;
    mount.put(&PemFiles {
        key: broken,
        trust: next.trust.clone(),
    })?;
    reload(&mut front, "stay in use", 1)?;
    let report = driver.run(Task::RoundTrip, &topic, &new)?;
    assert!(report.ok, "{report:?}");
    let failures = front.metrics()?;
    let failures = failures.since(
        &Default::default(),
        "gateway_certificate_reload_failures_total",
    );
    assert!(!failures.is_empty(), "counted");

    for (kind, how, load) in load {
        let report = load.stop()?;
        assert!(report.text.is_empty(), "{kind:?}, {how}: {}", report.text);
        assert!(report.count > 1, "{kind:?}, {how}: {report:?}");
    }
    let token = match &login {
        Login::Password { password, .. } => password.clone(),
        Login::Token(_) | Login::TokenUrl(_) => String::new(),
    };
    world.assert_no_secrets(&front.stop()?, &[&token])
}

/// The gateway shows the brokers another certificate afterwards.
#[test]
fn towards_kafka() -> Result<()> {
    let world = world()?;
    let authority = world.cluster.authority();
    let dir = world.dir().join("towards-kafka");
    std::fs::create_dir_all(&dir).map_err(testkit::Error::io("make a folder"))?;
    let before = authority.write_pem(&authority.issue_client("gateway-1")?, &dir, "before")?;
    let after = authority.write_pem(&authority.issue_client("gateway-2")?, &dir, "after")?;
    let mut mount = Mount::new(dir.clone());
    mount.put(&before)?;
    let mut front = managed(world)
        .env(
            "KAFKA_BOOTSTRAP_SERVERS",
            &world.cluster.bootstrap(Listener::MutualTls),
        )
        .env("KAFKA_SECURITY_PROTOCOL", "SSL")
        .env("KAFKA_SSL_KEYSTORE_LOCATION", &mount.path("key.pem"))
        .env("KAFKA_SSL_TRUSTSTORE_LOCATION", &mount.path("trust.pem"))
        .listener("SASL", "SASL_PLAINTEXT", Route::Port, None)
        .start()?;
    let topic = world.topic("certificates")?;
    let access = front.access("SASL").login(front.login("billing")?);
    let mut load = Vec::new();
    for kind in Client::ALL {
        load.push((kind, "steady", client(kind)?.steady(&topic, &access)?));
    }
    load.push((
        Client::Librdkafka,
        "churn",
        client(Client::Librdkafka)?.churn(&topic, &access)?,
    ));
    mount.put(&after)?;
    reload(&mut front, "certificates replaced", 1)?;
    // The old files are gone for good: who reads them later fails.
    std::fs::remove_dir_all(dir.join("version-1")).map_err(testkit::Error::io("remove"))?;
    for kind in Client::ALL {
        let report = client(kind)?.run(Task::RoundTrip, &topic, &access)?;
        assert!(report.ok, "{kind:?}: {report:?}");
    }
    for (kind, how, load) in load {
        let report = load.stop()?;
        assert!(report.text.is_empty(), "{kind:?}, {how}: {}", report.text);
        assert!(report.count > 1, "{kind:?}, {how}: {report:?}");
    }
    world.assert_no_secrets(&front.stop()?, &[])
}
