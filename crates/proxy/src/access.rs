//! Who clients are and what they may do: what the data plane is given for it, and what a connection keeps of it.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, Cache};
use auth::accounts::{ANONYMOUS, Accounts, Identity, PASSTHROUGH};
use auth::acl::{AclView, Acls, Operation, ResourceType};
use auth::server::{AuthFailure, Authenticator, RelayedOptions};
use authorization::AclChange;
use config::SecurityMode;
use telemetry::metrics::Metrics;
use telemetry::targets::{AUDIT, AUTHORIZATION, NETWORK};
use telemetry::{FloodGate, FloodLimits, Suppressed, address_source};
use tenancy::{Tenant, Tenants};
use tokio::sync::watch;
use wire::api::ApiKey;

use crate::gateway::ListenerState;

/// Records of failed authentications with names that somebody has, by name and address. Names that nobody has are without end: they have
/// a gate of their own.
static FAILURES: FloodGate = FloodGate::new(RECORDS);

/// Records of other failed authentications, by address and name.
static STRANGERS: FloodGate = FloodGate::new(RECORDS);

/// Records of denials, by who was denied and what.
static DENIALS: FloodGate = FloodGate::new(RECORDS);

/// Everybody can fail to authenticate or be denied something, as often as they like.
const RECORDS: FloodLimits = FloodLimits {
    per_event: 20,
    total: 200,
    per_source: 128,
    events: 4096,
};

/// Bytes of a name that are recorded.
const MAX_NAME: usize = 256;

/// Writes changes of the access control lists of a virtual cluster that clients ask for.
pub trait AclWriter: Send + Sync {
    /// When the future has given `Ok`, the change is in force.
    fn write(&self, vcluster: &str, change: AclChange) -> AclWrite;
}

/// The future of [`AclWriter::write`]; an error is a text for the log.
pub type AclWrite = Pin<Box<dyn Future<Output = Result<(), String>> + Send>>;

/// What the data plane needs to know about security. All of it may change while it runs, except what is plain here.
pub struct Security {
    /// Who checks credentials.
    pub mode: SecurityMode,
    /// Checks them, with [`SecurityMode::GatewayManaged`].
    pub authenticator: Authenticator,
    /// The service accounts.
    pub accounts: Arc<ArcSwap<Accounts>>,
    /// The access control lists.
    pub acls: Arc<ArcSwap<Acls>>,
    /// The virtual clusters.
    pub tenants: Arc<ArcSwap<Tenants>>,
    /// Counts changes of accounts and virtual clusters by which somebody may have lost the right to be there: connections look
    /// whether it was their client. Several changes may be counted as one.
    pub revocations: watch::Sender<u64>,
    /// `GATEWAY_AUTO_CREATE_TOPICS_ENABLED`
    pub auto_creation: bool,
    /// Whether access control applies to the passthrough virtual cluster.
    pub acl_enabled: bool,
    /// Those whom no access control applies to, without `User:`.
    pub super_users: Vec<String>,
    /// Names of the gateway's own topics, group and transaction: no client sees them.
    pub own_names: Arc<HashSet<String>>,
    /// Writes changes of the access control lists.
    pub acl_writer: Arc<dyn AclWriter>,
    /// How names are read from relayed exchanges.
    pub relayed: RelayedOptions,
    /// Counts failures.
    pub metrics: Metrics,
}

impl Security {
    /// An authentication succeeded: for the audit log.
    pub(crate) fn succeeded(
        &self,
        identity: &Identity,
        mechanism: &str,
        listener: &ListenerState,
        peer: SocketAddr,
    ) {
        tracing::info!(
            target: AUDIT,
            r#type = "AUTHENTICATION",
            outcome = "SUCCESS",
            %peer,
            listener = listener.name,
            mechanism,
            vcluster = %identity.vcluster,
            user = %identity.name,
            authenticated_name = %identity.authenticated_name,
            "authenticated"
        );
    }

    /// An authentication failed: counted, and said in the audit log.
    pub(crate) fn failed(
        &self,
        failure: &AuthFailure,
        mechanism: &str,
        listener: &ListenerState,
        peer: SocketAddr,
    ) {
        let accounts = self.accounts.load();
        let counted_name = failure.counted_name(&accounts, &self.super_users);
        let reason = failure.reason.as_str();
        self.metrics
            .authentication_failed(counted_name, mechanism, reason);
        let (address, now) = (address_source(peer.ip()), Instant::now());
        let name = failure.username.as_deref().unwrap_or_default();
        let admitted = match counted_name == name {
            true => FAILURES.admit(name, &address, now),
            false => STRANGERS.admit(&address, name, now),
        };
        let Some(suppressed) = admitted else {
            return;
        };
        tracing::info!(
            target: AUDIT,
            r#type = "AUTHENTICATION",
            outcome = reason,
            cause = %failure.reason,
            %peer,
            listener = listener.name,
            mechanism,
            user = failure.username,
            suppressed = (suppressed > 0).then_some(suppressed),
            "authentication failed"
        );
        tracing::debug!(target: NETWORK, %peer, mechanism, reason, "authentication failed");
    }

    fn view(&self, acls: &Acls, tenant: &Place, identity: &Identity, host: &str) -> AclView {
        let (enabled, is_super) = match tenant {
            Place::Passthrough(_) => (
                self.acl_enabled && self.mode == SecurityMode::GatewayManaged,
                self.super_users.iter().any(|user| **user == *identity.name),
            ),
            Place::Within(tenant) => (
                tenant.rights().acl_enabled,
                tenant.rights().super_users.contains(&*identity.name),
            ),
            Place::Gone => (true, false),
        };
        let view = if !enabled {
            AclView::disabled()
        } else if is_super {
            AclView::super_user(acls, &identity.vcluster)
        } else {
            AclView::checked(acls, &identity.vcluster, &identity.name, host)
        };
        let watch = Watch {
            metrics: self.metrics.clone(),
            vcluster: identity.vcluster.clone(),
            principal: identity.name.clone(),
            host: host.to_owned(),
        };
        let view = view
            .observed_by(Arc::new(watch))
            .deferring(self.mode == SecurityMode::KafkaManaged)
            .creating(self.auto_creation);
        match tenant {
            Place::Passthrough(_) => view.hiding(self.own_names.clone()),
            Place::Within(tenant) => view
                .declared(tenant.rights().declared)
                .within(Arc::new(Names(tenant.clone()))),
            Place::Gone => view.within(Arc::new(NoNames)),
        }
    }
}

/// Where a client is.
enum Place {
    /// With what there is to map: aliases.
    Passthrough(Option<Arc<Tenant>>),
    Within(Arc<Tenant>),
    /// In a virtual cluster that was deleted.
    Gone,
}

impl Place {
    fn of(identity: &Identity, tenants: &Tenants) -> Place {
        let tenant = tenants.get(&identity.vcluster);
        match (tenant, &*identity.vcluster) {
            (tenant, PASSTHROUGH) => {
                Place::Passthrough(tenant.filter(|tenant| tenant.maps()).cloned())
            }
            (Some(tenant), _) => Place::Within(tenant.clone()),
            (None, _) => Place::Gone,
        }
    }

    fn tenant(&self) -> Option<&Arc<Tenant>> {
        match self {
            Place::Passthrough(tenant) => tenant.as_ref(),
            Place::Within(tenant) => Some(tenant),
            Place::Gone => None,
        }
    }
}

/// The names of a virtual cluster.
struct Names(Arc<Tenant>);

impl auth::acl::Namespace for Names {
    fn contains(&self, resource_type: ResourceType, name: &str) -> bool {
        match resource_type {
            ResourceType::Topic => self.0.has_topic(name),
            _ => self.0.has_name(name),
        }
    }
}

struct NoNames;

impl auth::acl::Namespace for NoNames {
    fn contains(&self, _resource_type: ResourceType, _name: &str) -> bool {
        false
    }
}

/// Counts and logs what was denied to one connection.
struct Watch {
    metrics: Metrics,
    vcluster: Arc<str>,
    principal: Arc<str>,
    host: String,
}

impl auth::acl::Observer for Watch {
    fn denied(&self, operation: Operation, resource_type: ResourceType, name: &str) {
        self.metrics
            .authorization_denied(resource_type.as_str(), operation.as_str());
        // One request can name many.
        let what = format!("{operation} {resource_type}");
        let Some(suppressed) = DENIALS.admit(&self.who(), &what, Instant::now()) else {
            return;
        };
        let name = name.get(..name.floor_char_boundary(MAX_NAME));
        tracing::info!(
            target: AUTHORIZATION,
            principal = %format_args!("User:{}", self.principal),
            vcluster = %self.vcluster,
            %operation,
            %resource_type,
            name = name.unwrap_or_default(),
            host = self.host,
            suppressed = (suppressed > 0).then_some(suppressed),
            "denied"
        );
    }
}

impl Watch {
    /// Whose denials are recorded apart from those of others.
    fn who(&self) -> String {
        let Watch {
            vcluster,
            principal,
            host,
            ..
        } = self;
        // Many may come without a name.
        match &**principal == ANONYMOUS {
            true => format!("User:{principal} in {vcluster} at {host}"),
            false => format!("User:{principal} in {vcluster}"),
        }
    }
}

/// Tells how many failed authentications and denials were not recorded one by one, of those that no later record tells of. To be called
/// about every second; `all`: whatever is left, as the process ends.
pub fn tell_suppressed(all: bool) {
    let now = Instant::now();
    let told = |gate: &FloodGate| match all {
        true => gate.rest(now),
        false => gate.overdue(now),
    };
    let failures = told(&FAILURES)
        .into_iter()
        .map(|told| (told.source, told.event, told.count));
    let strangers = told(&STRANGERS)
        .into_iter()
        .map(|told| (told.event, told.source, told.count));
    for (user, address, suppressed) in failures.chain(strangers) {
        tracing::info!(target: AUDIT, r#type = "AUTHENTICATION", user, address, suppressed, "more authentications failed");
    }
    for Suppressed {
        source,
        event,
        count,
    } in told(&DENIALS)
    {
        tracing::info!(target: AUTHORIZATION, principal = source, what = event, suppressed = count, "more was denied");
    }
    for Suppressed {
        source,
        event,
        count,
    } in told(&crate::worker::COMPLAINTS)
    {
        tracing::warn!(target: NETWORK, address = source, reason = event, suppressed = count, "more connections were complained about");
    }
}

/// What one connection may do. Follows the snapshots, so that a change acts on the next request.
pub(crate) struct Access {
    identity: Identity,
    host: String,
    /// The accounts that the identity was last compared with.
    accounts: RefCell<Option<Arc<Accounts>>>,
    latest: RefCell<Latest>,
    view: RefCell<View>,
    /// Counts changes of what the client may do and of what it calls things.
    round: Cell<u64>,
}

/// Follows the snapshots. Every request asks whether they have changed, so that has to be cheap.
struct Latest {
    accounts: Cache<Arc<ArcSwap<Accounts>>, Arc<Accounts>>,
    acls: Cache<Arc<ArcSwap<Acls>>, Arc<Acls>>,
    tenants: Cache<Arc<ArcSwap<Tenants>>, Arc<Tenants>>,
}

impl Latest {
    fn new(security: &Security) -> Latest {
        Latest {
            accounts: Cache::new(Arc::clone(&security.accounts)),
            acls: Cache::new(Arc::clone(&security.acls)),
            tenants: Cache::new(Arc::clone(&security.tenants)),
        }
    }
}

/// What a connection sees of one moment.
struct View {
    acls: Arc<Acls>,
    tenants: Arc<Tenants>,
    place: Place,
    rights: AclView,
}

impl View {
    fn new(latest: &mut Latest, security: &Security, identity: &Identity, host: &str) -> View {
        let acls = Arc::clone(latest.acls.load());
        let tenants = Arc::clone(latest.tenants.load());
        let place = match Place::of(identity, &tenants) {
            // Names are Kafka's where it knows the clients.
            Place::Passthrough(_) | Place::Within(_)
                if security.mode == SecurityMode::KafkaManaged =>
            {
                Place::Passthrough(None)
            }
            place => place,
        };
        View {
            rights: security.view(&acls, &place, identity, host),
            acls,
            tenants,
            place,
        }
    }
}

impl View {
    /// Whether nothing has changed for this client.
    fn is_like(&self, other: &View) -> bool {
        let tenant = |view: &View| view.place.tenant().map(Arc::as_ptr);
        tenant(self) == tenant(other) && self.rights.grants_like(&other.rights)
    }
}

impl Access {
    pub(crate) fn new(security: &Security, identity: Identity, host: IpAddr) -> Access {
        // Kafka shows and compares IPv4 addresses as such, however they came in.
        let host = host.to_canonical().to_string();
        let mut latest = Latest::new(security);
        let view = View::new(&mut latest, security, &identity, &host);
        Access {
            identity,
            host,
            // The client was authenticated by those of a moment ago.
            accounts: RefCell::default(),
            latest: RefCell::new(latest),
            view: RefCell::new(view),
            round: Cell::new(1),
        }
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Whether the account is still what it was when the client came.
    pub(crate) fn holds(&self, security: &Security) -> bool {
        self.refresh(security);
        if matches!(self.view.borrow().place, Place::Gone) {
            return false;
        }
        let mut latest = self.latest.borrow_mut();
        let now = latest.accounts.load();
        let mut seen = self.accounts.borrow_mut();
        if seen.as_ref().is_some_and(|seen| Arc::ptr_eq(now, seen)) {
            return true;
        }
        let holds = self.identity.still_holds(now);
        if holds {
            *seen = Some(Arc::clone(now));
        }
        holds
    }

    /// What the client may do and what names it knows resources by, of one moment: no change can come between the two. `None`: its virtual
    /// cluster is gone.
    pub(crate) fn seen(&self, security: &Security) -> Option<(AclView, Option<Arc<Tenant>>)> {
        self.refresh(security);
        let view = self.view.borrow();
        match view.place {
            Place::Gone => None,
            _ => Some((view.rights.clone(), view.place.tenant().cloned())),
        }
    }

    /// Whether requests of `api` have to be judged.
    pub(crate) fn is_guarded(&self, security: &Security, api: ApiKey) -> bool {
        self.refresh(security);
        let is_about_acls = matches!(
            api,
            ApiKey::DESCRIBE_ACLS | ApiKey::CREATE_ACLS | ApiKey::DELETE_ACLS
        );
        if security.mode == SecurityMode::KafkaManaged
            && (is_about_acls || matches!(api, ApiKey::SASL_HANDSHAKE | ApiKey::SASL_AUTHENTICATE))
        {
            return false;
        }
        let View { place, rights, .. } = &*self.view.borrow();
        matches!(place, Place::Gone) // whoever judges ends the connection
            || rights.enabled()
            || rights.is_narrowed()
            || place.tenant().is_some()
            || (api == ApiKey::METADATA && !rights.auto_creation())
            || is_about_acls
    }

    fn refresh(&self, security: &Security) {
        let mut latest = self.latest.borrow_mut();
        let is_current = {
            let seen = self.view.borrow();
            Arc::ptr_eq(latest.acls.load(), &seen.acls)
                && Arc::ptr_eq(latest.tenants.load(), &seen.tenants)
        };
        if !is_current {
            let now = View::new(&mut latest, security, &self.identity, &self.host);
            let before = self.view.replace(now);
            if !self.view.borrow().is_like(&before) {
                self.round.set(self.round.get() + 1);
            }
        }
    }

    /// Changes whenever the client's rights have changed, or what it calls things.
    pub(crate) fn round(&self, security: &Security) -> u64 {
        self.refresh(security);
        self.round.get()
    }
}
