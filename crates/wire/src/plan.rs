//! Compiled programs: what to do with the bytes of one message in one version, given what the caller is interested in.
//!
//! A [`Plan`] is a tree of operations. Neighbouring fixed-size fields of no interest become one skip, structs of no interest dissolve
//! into their parent, arrays of fixed-size elements of no interest are skipped in one step.

use std::sync::OnceLock;

use crate::api::{ApiKey, Direction};
use crate::schema::generated::SLOTS;
use crate::schema::{Entity, FieldSpec, FieldType};

/// A set of [`Entity`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Interest(u64);

impl Interest {
    /// Nothing: validation only.
    pub const NONE: Interest = Interest(0);
    /// Every field that means anything; [`Entity::None`] stays out.
    pub const ALL: Interest = Interest(!1);

    /// These entities.
    pub const fn of(entities: &[Entity]) -> Interest {
        let mut bits = 0;
        let mut at = 0;
        while at < entities.len() {
            bits |= 1 << entities[at] as u64;
            at += 1;
        }
        Interest(bits & !1)
    }

    /// Whether `entity` is in the set.
    pub const fn contains(self, entity: Entity) -> bool {
        self.0 & (1 << entity as u64) != 0
    }

    /// Both sets together.
    pub const fn and(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

/// The program for one (API, version, direction, interest).
#[derive(Debug)]
pub struct Plan {
    pub(crate) root: Program,
    pub(crate) depth: usize,
    api: ApiKey,
    version: i16,
    dir: Direction,
    interest: Interest,
}

impl Plan {
    /// Compiles; `None` if the table does not know the API or the version.
    pub fn compile(api: ApiKey, version: i16, dir: Direction, interest: Interest) -> Option<Plan> {
        let spec = api.spec().filter(|spec| spec.has_version(version))?;
        let flexible = spec.is_flexible(dir, version);
        let compiler = Compiler {
            version,
            flexible,
            interest,
        };
        let root = compiler.fields(spec.message(dir).fields);
        Some(Plan {
            depth: root.depth(),
            root,
            api,
            version,
            dir,
            interest,
        })
    }

    /// API key the plan is for.
    pub fn api(&self) -> ApiKey {
        self.api
    }

    /// Version the plan is for.
    pub fn version(&self) -> i16 {
        self.version
    }

    /// Direction the plan is for.
    pub fn direction(&self) -> Direction {
        self.dir
    }

    /// What the plan reports.
    pub fn interest(&self) -> Interest {
        self.interest
    }

    /// Whether a message of this kind can hold a field of interest at all.
    pub fn is_interested(&self) -> bool {
        self.root.is_interesting()
    }

    /// Whether a [`StreamWalker`](crate::stream::StreamWalker) gets past the bulk of the message: to its end, or past one array at
    /// least before it stops.
    pub fn streams(&self) -> bool {
        let mut passed = self.root.ops.iter().take_while(|op| !op.is_interesting());
        !self.is_interested()
            || passed.any(|op| matches!(op, Op::Array { .. } | Op::SkipElements { .. }))
    }
}

/// Plans of every message for one interest, compiled when first asked for. Made to be a `static`.
///
/// ```
/// use sluicegate_wire::api::{ApiKey, Direction};
/// use sluicegate_wire::plan::{Interest, Plans};
/// use sluicegate_wire::schema::Entity;
///
/// static TOPICS: Plans = Plans::new(Interest::of(&[Entity::TopicName]));
/// let plan = TOPICS.get(ApiKey::PRODUCE, 9, Direction::Request).unwrap();
/// assert!(plan.is_interested());
/// ```
#[derive(Debug)]
pub struct Plans {
    interest: Interest,
    slots: [OnceLock<Box<Plan>>; 2 * SLOTS],
}

impl Plans {
    /// An empty cache.
    pub const fn new(interest: Interest) -> Plans {
        Plans {
            interest,
            slots: [const { OnceLock::new() }; 2 * SLOTS],
        }
    }

    /// What the plans report.
    pub fn interest(&self) -> Interest {
        self.interest
    }

    /// The plan; `None` if the table does not know the API or the version. No lock unless it is the first call for this message.
    #[inline]
    pub fn get(&self, api: ApiKey, version: i16, dir: Direction) -> Option<&Plan> {
        let spec = api.spec().filter(|spec| spec.has_version(version))?;
        let row = spec.slot + usize::try_from(version - spec.min_version).ok()?;
        let slot = self.slots.get(2 * row + dir as usize)?;
        match slot.get() {
            Some(plan) => Some(plan),
            None => {
                let plan = Plan::compile(api, version, dir, self.interest)?;
                Some(slot.get_or_init(|| Box::new(plan)))
            }
        }
    }
}

/// Operations in the order of the bytes.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) ops: Box<[Op]>,
    /// Bytes of the shortest valid encoding.
    pub(crate) min_size: u32,
}

/// How a length or a count is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Prefix {
    /// Unsigned varint of length + 1; 0 is null.
    Compact,
    /// Two bytes; -1 is null.
    Int16,
    /// Four bytes; -1 is null.
    Int32,
}

/// One step of a program.
#[derive(Debug)]
pub(crate) enum Op {
    /// Fixed-size fields of no interest.
    Skip(u32),
    /// A string, bytes or records of no interest.
    SkipVar { prefix: Prefix, nullable: bool },
    /// An array of fixed-size elements of no interest.
    SkipElements {
        size: u32,
        prefix: Prefix,
        nullable: bool,
    },
    /// A fixed-size field of interest.
    Fixed { spec: &'static FieldSpec },
    /// A string, bytes or records of interest.
    Var {
        spec: &'static FieldSpec,
        prefix: Prefix,
        nullable: bool,
    },
    /// Any other array.
    Array {
        spec: &'static FieldSpec,
        element: Program,
        prefix: Prefix,
        nullable: bool,
        interesting: bool,
    },
    /// A struct that may be null or holds something of interest.
    Struct {
        spec: &'static FieldSpec,
        inner: Program,
        nullable: bool,
        interesting: bool,
    },
    /// The section of tagged fields.
    Tags {
        known: Box<[Tag]>,
        interesting: bool,
    },
}

/// A tagged field that the version knows.
#[derive(Debug)]
pub(crate) struct Tag {
    pub(crate) tag: u32,
    pub(crate) program: Program,
    pub(crate) interesting: bool,
}

impl Op {
    pub(crate) fn is_interesting(&self) -> bool {
        match self {
            Op::Skip(_) | Op::SkipVar { .. } | Op::SkipElements { .. } => false,
            Op::Fixed { .. } | Op::Var { .. } => true,
            Op::Array { interesting, .. }
            | Op::Struct { interesting, .. }
            | Op::Tags { interesting, .. } => *interesting,
        }
    }

    fn min_size(&self) -> u32 {
        match self {
            Op::Skip(size) => *size,
            Op::Fixed { spec } => spec.ty.fixed_size().unwrap_or(0) as u32,
            Op::SkipVar { prefix, .. }
            | Op::SkipElements { prefix, .. }
            | Op::Var { prefix, .. }
            | Op::Array { prefix, .. } => match prefix {
                Prefix::Compact => 1,
                Prefix::Int16 => 2,
                Prefix::Int32 => 4,
            },
            Op::Struct { nullable: true, .. } | Op::Tags { .. } => 1,
            Op::Struct { inner, .. } => inner.min_size,
        }
    }

    /// Stack frames a stream walker needs for this operation.
    fn depth(&self) -> usize {
        match self {
            Op::Array { element: inner, .. } | Op::Struct { inner, .. } => 1 + inner.depth(),
            Op::Tags { known, .. } => {
                2 + known
                    .iter()
                    .map(|tag| tag.program.depth())
                    .max()
                    .unwrap_or(0)
            }
            _ => 0,
        }
    }
}

impl Program {
    fn new(ops: Vec<Op>) -> Program {
        Program {
            min_size: ops.iter().map(Op::min_size).sum(),
            ops: ops.into_boxed_slice(),
        }
    }

    pub(crate) fn is_interesting(&self) -> bool {
        self.ops.iter().any(Op::is_interesting)
    }

    /// Size of every valid encoding, if it is fixed and of no interest.
    fn fixed_size(&self) -> Option<u32> {
        match &*self.ops {
            [] => Some(0),
            [Op::Skip(size)] => Some(*size),
            _ => None,
        }
    }

    fn depth(&self) -> usize {
        1 + self.ops.iter().map(Op::depth).max().unwrap_or(0)
    }
}

struct Compiler {
    version: i16,
    flexible: bool,
    interest: Interest,
}

impl Compiler {
    fn fields(&self, fields: &'static [FieldSpec]) -> Program {
        let mut ops = Vec::new();
        let mut known = Vec::new();
        for spec in fields
            .iter()
            .filter(|spec| spec.versions.contains(self.version))
        {
            if self.flexible && spec.tagged.contains(self.version) {
                let mut inner = Vec::new();
                self.field(spec, &mut inner);
                let program = Program::new(inner);
                known.push(Tag {
                    tag: spec.tag,
                    interesting: program.is_interesting(),
                    program,
                });
            } else {
                self.field(spec, &mut ops);
            }
        }
        if self.flexible {
            let interesting = known.iter().any(|tag| tag.interesting);
            ops.push(Op::Tags {
                known: known.into_boxed_slice(),
                interesting,
            });
        }
        Program::new(ops)
    }

    fn field(&self, spec: &'static FieldSpec, ops: &mut Vec<Op>) {
        let nullable = spec.nullable.contains(self.version);
        if spec.array {
            return ops.push(self.array(spec, nullable));
        }
        let FieldType::Struct(fields) = spec.ty else {
            return self.scalar(spec, nullable, ops);
        };
        let inner = self.fields(fields);
        let interesting = inner.is_interesting();
        if nullable || interesting {
            ops.push(Op::Struct {
                spec,
                inner,
                nullable,
                interesting,
            });
        } else {
            inner.ops.into_iter().for_each(|op| push(ops, op));
        }
    }

    fn array(&self, spec: &'static FieldSpec, nullable: bool) -> Op {
        let prefix = if self.flexible {
            Prefix::Compact
        } else {
            Prefix::Int32
        };
        let element = match spec.ty {
            FieldType::Struct(fields) => self.fields(fields),
            _ => {
                let mut ops = Vec::new();
                self.scalar(spec, false, &mut ops);
                Program::new(ops)
            }
        };
        match element.fixed_size() {
            Some(size) => Op::SkipElements {
                size,
                prefix,
                nullable,
            },
            None => Op::Array {
                spec,
                interesting: element.is_interesting(),
                element,
                prefix,
                nullable,
            },
        }
    }

    fn scalar(&self, spec: &'static FieldSpec, nullable: bool, ops: &mut Vec<Op>) {
        let interesting = self.interest.contains(spec.entity);
        if let Some(size) = spec.ty.fixed_size() {
            return push(
                ops,
                if interesting {
                    Op::Fixed { spec }
                } else {
                    Op::Skip(size as u32)
                },
            );
        }
        let prefix = match spec.ty {
            _ if self.flexible => Prefix::Compact,
            FieldType::String => Prefix::Int16,
            _ => Prefix::Int32,
        };
        // Brokers of 4.1 may send null records in ShareFetch v1, which the definitions of 4.3 no longer allow there.
        let nullable = nullable || matches!(spec.ty, FieldType::Records);
        ops.push(if interesting {
            Op::Var {
                spec,
                prefix,
                nullable,
            }
        } else {
            Op::SkipVar { prefix, nullable }
        });
    }
}

/// Appends, joining neighbouring skips.
fn push(ops: &mut Vec<Op>, op: Op) {
    if let (Some(Op::Skip(before)), Op::Skip(size)) = (ops.last_mut(), &op) {
        *before += size;
    } else {
        ops.push(op);
    }
}

#[cfg(test)]
mod tests {
    use super::{Interest, Op, Plan, Plans, Prefix};
    use crate::api::{ApiKey, Direction};
    use crate::schema::{ENTITIES, Entity};

    #[test]
    fn neighbouring_fixed_fields_become_one_skip() {
        // Metadata v8: throttle, brokers; then what is left of a partition after joining.
        let plan = Plan::compile(
            ApiKey::METADATA,
            8,
            Direction::Response,
            Interest::of(&[Entity::Host]),
        )
        .unwrap();
        let [
            Op::Skip(4),
            Op::Array {
                interesting: true, ..
            },
            Op::SkipVar { .. },
            Op::Skip(4),
            Op::Array { element, .. },
            Op::Skip(4),
        ] = &*plan.root.ops
        else {
            panic!("{:?}", plan.root.ops);
        };
        let [
            Op::Skip(2),
            Op::SkipVar { .. },
            Op::Skip(1),
            Op::Array {
                element: partition, ..
            },
            Op::Skip(4),
        ] = &*element.ops
        else {
            panic!("{:?}", element.ops);
        };
        let [
            Op::Skip(14),
            Op::SkipElements {
                size: 4,
                prefix: Prefix::Int32,
                nullable: false,
            },
            _,
            _,
        ] = &*partition.ops
        else {
            panic!("{:?}", partition.ops);
        };
        assert_eq!(partition.min_size, 14 + 3 * 4);
    }

    #[test]
    fn arrays_of_fixed_structs_are_skipped_at_once() {
        // ListOffsets v1 request: partitions of (index, timestamp).
        let plan =
            Plan::compile(ApiKey::LIST_OFFSETS, 1, Direction::Request, Interest::NONE).unwrap();
        let [Op::Skip(4), Op::Array { element, .. }] = &*plan.root.ops else {
            panic!("{:?}", plan.root.ops)
        };
        assert!(matches!(
            &*element.ops,
            [Op::SkipVar { .. }, Op::SkipElements { size: 12, .. }]
        ));
    }

    #[test]
    fn interest_is_a_set() {
        let some = Interest::of(&[Entity::Host, Entity::None]);
        assert!(
            some.contains(Entity::Host)
                && !some.contains(Entity::Port)
                && !some.contains(Entity::None)
        );
        assert!(
            ENTITIES
                .into_iter()
                .all(|entity| Interest::ALL.contains(entity))
        );
        assert_eq!(
            Interest::of(&[Entity::Port]).and(some),
            Interest::of(&[Entity::Port, Entity::Host])
        );
    }

    #[test]
    fn the_cache_gives_the_same_plan_again() {
        static PLANS: Plans = Plans::new(Interest::of(&[Entity::TopicName]));
        for api in ApiKey::all() {
            let spec = api.spec().unwrap();
            for version in spec.min_version..=spec.max_version {
                for dir in [Direction::Request, Direction::Response] {
                    let plan = PLANS.get(api, version, dir).unwrap();
                    assert_eq!(
                        (plan.api(), plan.version(), plan.direction()),
                        (api, version, dir)
                    );
                    assert!(std::ptr::eq(plan, PLANS.get(api, version, dir).unwrap()));
                }
            }
            assert!(
                PLANS
                    .get(api, spec.max_version + 1, Direction::Request)
                    .is_none()
            );
        }
        assert!(PLANS.get(ApiKey(-1), 0, Direction::Request).is_none());
    }
}
