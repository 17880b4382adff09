//! The message definitions as data.
//!
//! [`ApiSpec`] describes one API key, [`FieldSpec`] one field of one message, [`Entity`] what a field means. The table itself is
//! generated from the JSON definitions that Apache Kafka ships in its `kafka-clients` jar (see `crates/wire-gen`); nothing else in this
//! crate knows a message by name. A struct that several messages share is one list of fields.

#[rustfmt::skip]
pub(crate) mod generated;

/// Which end sends a message.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Direction {
    /// Client to broker.
    Request,
    /// Broker to client.
    Response,
}

/// Listeners on which Kafka serves an API.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Listeners {
    /// Served by brokers.
    pub broker: bool,
    /// Served by KRaft controllers.
    pub controller: bool,
}

/// One API key: its request, its response, and the versions both are defined for.
#[derive(Debug)]
pub struct ApiSpec {
    /// The API key on the wire.
    pub key: i16,
    /// Name without the suffix `Request`, e.g. `Produce`.
    pub name: &'static str,
    /// The request.
    pub request: MessageSpec,
    /// The response.
    pub response: MessageSpec,
    /// Lowest defined version.
    pub min_version: i16,
    /// Highest defined version.
    pub max_version: i16,
    /// The highest version is not stable yet: brokers offer it only when told to.
    pub latest_unstable: bool,
    /// Where Kafka serves it.
    pub listeners: Listeners,
    /// Number of (API, version) pairs before this API in the table: index base for per-version caches.
    pub(crate) slot: usize,
}

impl ApiSpec {
    /// Whether messages of this direction use compact lengths and tagged fields in `version` (KIP-482).
    pub fn is_flexible(&self, dir: Direction, version: i16) -> bool {
        self.message(dir).flexible.contains(version)
    }

    /// Whether the table defines `version`.
    pub fn has_version(&self, version: i16) -> bool {
        (self.min_version..=self.max_version).contains(&version)
    }

    /// Highest version that is stable.
    pub fn max_stable_version(&self) -> i16 {
        if self.latest_unstable {
            self.max_version - 1
        } else {
            self.max_version
        }
    }

    /// The message of one direction.
    pub fn message(&self, dir: Direction) -> &MessageSpec {
        match dir {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
        }
    }
}

/// One message: top-level fields in the order of the wire.
#[derive(Debug)]
pub struct MessageSpec {
    /// Versions with compact lengths and tagged fields.
    pub flexible: Versions,
    /// Fields of all versions.
    pub fields: &'static [FieldSpec],
}

/// An inclusive range of versions; may be empty.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// First version.
    pub first: i16,
    /// Last version; [`i16::MAX`] when open.
    pub last: i16,
}

impl Versions {
    /// No version at all.
    pub const NONE: Versions = Versions { first: 0, last: -1 };

    /// Whether `version` is in the range.
    pub const fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }
}

/// One field of a message or of a struct.
#[derive(Debug)]
pub struct FieldSpec {
    /// Name in the definitions.
    pub name: &'static str,
    /// Type of the field, or of its elements if it is an array.
    pub ty: FieldType,
    /// Array of `ty`.
    pub array: bool,
    /// Versions that have the field.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Versions in which it is a tagged field.
    pub tagged: Versions,
    /// Tag number where it is a tagged field.
    pub tag: u32,
    /// Value if nothing is known.
    pub default: DefaultValue,
    /// What it means.
    pub entity: Entity,
}

/// Type on the wire.
#[derive(Clone, Copy, Debug)]
pub enum FieldType {
    /// One byte, zero is false.
    Bool,
    /// Signed, 1 byte.
    Int8,
    /// Signed, 2 bytes.
    Int16,
    /// Unsigned, 2 bytes.
    Uint16,
    /// Signed, 4 bytes.
    Int32,
    /// Unsigned, 4 bytes.
    Uint32,
    /// Signed, 8 bytes.
    Int64,
    /// IEEE 754, 8 bytes.
    Float64,
    /// 16 bytes.
    Uuid,
    /// Length-prefixed text.
    String,
    /// Length-prefixed bytes.
    Bytes,
    /// Length-prefixed record batches.
    Records,
    /// A struct with these fields.
    Struct(&'static [FieldSpec]),
}

impl FieldType {
    /// Bytes of a value whose size does not depend on its content.
    pub const fn fixed_size(self) -> Option<usize> {
        match self {
            FieldType::Bool | FieldType::Int8 => Some(1),
            FieldType::Int16 | FieldType::Uint16 => Some(2),
            FieldType::Int32 | FieldType::Uint32 => Some(4),
            FieldType::Int64 | FieldType::Float64 => Some(8),
            FieldType::Uuid => Some(16),
            FieldType::String | FieldType::Bytes | FieldType::Records | FieldType::Struct(_) => {
                None
            }
        }
    }
}

/// Default of a field as the definitions give it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DefaultValue {
    /// Zero, false, empty.
    Zero,
    /// Null where the version allows it.
    Null,
    /// This number; 1 for a true bool.
    Int(i64),
}

/// What a field means to a gateway. From `entityType` of the definitions, else from the override list of the generator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum Entity {
    /// Nothing of interest.
    None,
    /// Name of a topic.
    TopicName,
    /// Uuid of a topic (KIP-516).
    TopicId,
    /// Regular expression over topic names.
    TopicPattern,
    /// Index of a partition.
    Partition,
    /// Group id: classic, consumer, share or streams group.
    GroupId,
    /// Transactional id.
    TransactionalId,
    /// Regular expression over transactional ids.
    TransactionalIdPattern,
    /// Key of a coordinator look-up: group or transactional id, see [`Entity::CoordinatorType`].
    CoordinatorKey,
    /// What a [`Entity::CoordinatorKey`] is: 0 group, 1 transaction, 2 share.
    CoordinatorType,
    /// Protocol type of a classic group: says how to read its opaque bytes.
    GroupProtocolType,
    /// Opaque subscription of a classic group member; holds topic names when the protocol type is `consumer`.
    GroupSubscription,
    /// Opaque assignment of a classic group member; holds topic names when the protocol type is `consumer`.
    GroupAssignment,
    /// Id of a broker that stands alone: leader, replicas, preferred read replica.
    BrokerId,
    /// Id of the broker whose [`Entity::Host`] and [`Entity::Port`] follow in the same struct.
    NodeId,
    /// Host of a broker in an answer to clients.
    Host,
    /// Port of a broker in an answer to clients.
    Port,
    /// Rack of a broker or of a client.
    Rack,
    /// Host in a message between brokers and controllers, or host of a controller.
    InternalHost,
    /// Port that goes with [`Entity::InternalHost`].
    InternalPort,
    /// Host of a client application (streams user endpoint).
    ApplicationHost,
    /// Port that goes with [`Entity::ApplicationHost`].
    ApplicationPort,
    /// Address of a client as the broker sees it.
    ClientHost,
    /// Cluster id.
    ClusterId,
    /// Broker id of the controller.
    ControllerId,
    /// Id of the replica that asks; -1 for a client.
    ReplicaId,
    /// Fetch session id (KIP-227).
    SessionId,
    /// Fetch or share session epoch.
    SessionEpoch,
    /// Producer id.
    ProducerId,
    /// Acknowledgements a producer asks for; 0: no response will be sent.
    Acks,
    /// Record batches.
    Records,
    /// Error code.
    ErrorCode,
    /// Text that may name anything.
    ErrorMessage,
    /// Bit field of authorised operations (KIP-430).
    AuthorizedOperations,
    /// Time in ms for which the broker throttles.
    ThrottleTime,
    /// Name of a resource in configs and ACLs; meaning depends on [`Entity::ResourceType`].
    ResourceName,
    /// Type of a resource in configs and ACLs.
    ResourceType,
    /// Pattern type of an ACL.
    PatternType,
    /// Host in an ACL.
    AclHost,
    /// Principal, user or quota entity.
    Principal,
    /// Secret or proof: SASL bytes, salted password, token HMAC.
    Credential,
    /// Whether a topic may be created by asking for it.
    AllowAutoTopicCreation,
    /// Whether a topic is internal.
    IsInternal,
    /// Path of a log directory.
    LogDir,
    /// Metrics blob of a client (KIP-714).
    Telemetry,
    /// Offset that tells where a log ends, or how far a group has come.
    Offset,
    /// What a [`Entity::Offset`] is asked for: a time in ms, or -1 for the end of the log.
    OffsetQuery,
    /// Isolation level: 0 sees records of transactions that are not committed.
    IsolationLevel,
}

/// Every entity but [`Entity::None`].
pub const ENTITIES: [Entity; 47] = [
    Entity::TopicName,
    Entity::TopicId,
    Entity::TopicPattern,
    Entity::Partition,
    Entity::GroupId,
    Entity::TransactionalId,
    Entity::TransactionalIdPattern,
    Entity::CoordinatorKey,
    Entity::CoordinatorType,
    Entity::GroupProtocolType,
    Entity::GroupSubscription,
    Entity::GroupAssignment,
    Entity::BrokerId,
    Entity::NodeId,
    Entity::Host,
    Entity::Port,
    Entity::Rack,
    Entity::InternalHost,
    Entity::InternalPort,
    Entity::ApplicationHost,
    Entity::ApplicationPort,
    Entity::ClientHost,
    Entity::ClusterId,
    Entity::ControllerId,
    Entity::ReplicaId,
    Entity::SessionId,
    Entity::SessionEpoch,
    Entity::ProducerId,
    Entity::Acks,
    Entity::Records,
    Entity::ErrorCode,
    Entity::ErrorMessage,
    Entity::AuthorizedOperations,
    Entity::ThrottleTime,
    Entity::ResourceName,
    Entity::ResourceType,
    Entity::PatternType,
    Entity::AclHost,
    Entity::Principal,
    Entity::Credential,
    Entity::AllowAutoTopicCreation,
    Entity::IsInternal,
    Entity::LogDir,
    Entity::Telemetry,
    Entity::Offset,
    Entity::OffsetQuery,
    Entity::IsolationLevel,
];

/// Open end of a version range, short for the generated table.
pub(crate) const X: i16 = i16::MAX;

/// A field that is no array.
pub(crate) const fn f(name: &'static str, ty: FieldType, first: i16, last: i16) -> FieldSpec {
    FieldSpec {
        name,
        ty,
        array: false,
        versions: Versions { first, last },
        nullable: Versions::NONE,
        tagged: Versions::NONE,
        tag: 0,
        default: DefaultValue::Zero,
        entity: Entity::None,
    }
}

/// An array.
pub(crate) const fn a(name: &'static str, ty: FieldType, first: i16, last: i16) -> FieldSpec {
    let mut field = f(name, ty, first, last);
    field.array = true;
    field
}

/// Refinements the generated table chains onto [`f`] and [`a`]; one letter each to keep the table readable by the page.
impl FieldSpec {
    pub(crate) const fn n(mut self, first: i16, last: i16) -> FieldSpec {
        self.nullable = Versions { first, last };
        self
    }

    pub(crate) const fn t(mut self, tag: u32, first: i16, last: i16) -> FieldSpec {
        self.tag = tag;
        self.tagged = Versions { first, last };
        self
    }

    pub(crate) const fn d(mut self, default: i64) -> FieldSpec {
        self.default = DefaultValue::Int(default);
        self
    }

    pub(crate) const fn null(mut self) -> FieldSpec {
        self.default = DefaultValue::Null;
        self
    }

    pub(crate) const fn e(mut self, entity: Entity) -> FieldSpec {
        self.entity = entity;
        self
    }
}
