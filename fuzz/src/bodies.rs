//! The bodies of the fuzz targets: each takes arbitrary bytes and panics if a promise of the wire crate is broken.

use std::mem::discriminant;
use std::sync::OnceLock;

use wire::api::{ApiKey, Direction};
use wire::header::{HeaderError, RequestHeader, response_header_len};
use wire::plan::{Interest, Plan, Plans};
use wire::records::{BatchHeader, Batches, Entry, Summary};
use wire::rewrite::{Edits, Rewrite, Segments};
use wire::schema::{Entity, FieldSpec};
use wire::stream::{Step, StreamWalker};
use wire::walk::{Field, Value, Visitor, WalkError, validate};

/// Watches what guarded code asks of the allocator.
pub trait Guard {
    /// Runs `work`; fails if one allocation of it is larger than `largest` bytes. 0: none at all.
    fn within<T>(&self, largest: usize, work: impl FnOnce() -> T) -> T;
}

/// For runs without a watching allocator.
pub struct Unguarded;

impl Guard for Unguarded {
    fn within<T>(&self, _largest: usize, work: impl FnOnce() -> T) -> T {
        work()
    }
}

/// Allocations that do not depend on the input: stacks, first capacity of a vector.
pub const SMALL: usize = 1024;
/// Real edits write a list of pieces besides the bytes: this many bytes for each byte of the frame at most.
const EDIT_FACTOR: usize = 64;
/// No step of the stream walker may need more bytes than this.
const MAX_WINDOW: usize = 16;

const NAMES: Interest = Interest::of(&[
    Entity::TopicName,
    Entity::GroupId,
    Entity::TransactionalId,
    Entity::CoordinatorKey,
    Entity::ResourceName,
    Entity::Host,
]);

static ALL_PLANS: Plans = Plans::new(Interest::ALL);
static NAME_PLANS: Plans = Plans::new(NAMES);
static NO_PLANS: Plans = Plans::new(Interest::NONE);

/// Target `header`: a request header, and a response header for an API and version taken from the first bytes.
pub fn header(data: &[u8], guard: &impl Guard) {
    match guard.within(0, || RequestHeader::parse(data)) {
        Ok(header) => {
            assert!(header.len <= data.len());
            assert!(
                header
                    .api
                    .spec()
                    .is_some_and(|spec| spec.has_version(header.version))
            );
            assert!(
                header
                    .client_id
                    .is_none_or(|id| is_inside(id, &data[..header.len]))
            );
            // Neither what follows nor what is missing changes where the header ends.
            assert_eq!(
                RequestHeader::parse(&data[..header.len]).map(|header| header.len),
                Ok(header.len)
            );
            let cut = RequestHeader::parse(&data[..header.len - 1]);
            assert!(matches!(cut, Err(HeaderError::Incomplete)), "{cut:?}");
        }
        Err(HeaderError::Incomplete) => {}
        Err(error) => {
            let longer = [data, &[0; 9]].concat();
            let later = RequestHeader::parse(&longer)
                .map(drop)
                .map_err(|error| discriminant(&error));
            assert_eq!(
                later,
                Err(discriminant(&error)),
                "more bytes must not change a final verdict"
            );
        }
    }
    if let Some((api, version, rest)) = message(data)
        && let Ok(len) = guard.within(0, || response_header_len(api, version, rest))
    {
        assert!(len <= rest.len());
        assert_eq!(response_header_len(api, version, &rest[..len]), Ok(len));
        assert_eq!(
            response_header_len(api, version, &rest[..len - 1]),
            Err(HeaderError::Incomplete)
        );
    }
}

/// A body that the walker accepted.
pub struct Accepted<'a> {
    pub api: ApiKey,
    pub version: i16,
    pub dir: Direction,
    pub body: &'a [u8],
}

/// Target `request`: the first two bytes choose API and version, the rest is the body.
pub fn request<'a>(data: &'a [u8], guard: &impl Guard) -> Option<Accepted<'a>> {
    body(Direction::Request, data, guard)
}

/// Target `response`, like [`request`].
pub fn response<'a>(data: &'a [u8], guard: &impl Guard) -> Option<Accepted<'a>> {
    body(Direction::Response, data, guard)
}

/// Target `records`: a record set, or, if the first byte is odd, the record section of a batch whose count is the
/// second byte. Returns that batch if its records are good.
pub fn records(data: &[u8], guard: &impl Guard) -> Option<Vec<u8>> {
    let (&[mode, count], section) = data.split_first_chunk()?;
    if mode & 1 == 0 {
        guard.within(0, || record_set(section));
        None
    } else {
        let set = batch_around(section, count);
        guard.within(0, || record_set(&set));
        let Some(Ok(Entry::Batch(batch))) = Batches::new(&set).next() else {
            panic!("the batch is well-formed")
        };
        assert!(batch.crc_is_valid());
        let good = batch.check_records().is_ok();
        good.then_some(set)
    }
}

/// Every message the first two bytes of an input of `request` and `response` can choose.
pub fn messages() -> &'static [(ApiKey, i16)] {
    static MESSAGES: OnceLock<Vec<(ApiKey, i16)>> = OnceLock::new();
    MESSAGES.get_or_init(|| {
        let mut messages = Vec::new();
        for api in ApiKey::all() {
            let spec = api.spec().expect("a listed key has a spec");
            for version in spec.min_version..=spec.max_version {
                messages.push((api, version));
                for plans in [&ALL_PLANS, &NAME_PLANS, &NO_PLANS] {
                    for dir in [Direction::Request, Direction::Response] {
                        assert!(plans.get(api, version, dir).is_some());
                        // Fills the cache behind `validate`, too.
                        let _ = validate(api, version, dir, &[]);
                    }
                }
            }
        }
        messages
    })
}

/// The API and version that the first two bytes choose, and what follows them.
fn message(data: &[u8]) -> Option<(ApiKey, i16, &[u8])> {
    let (choice, rest) = data.split_first_chunk()?;
    let (api, version) = messages()[usize::from(u16::from_le_bytes(*choice)) % messages().len()];
    Some((api, version, rest))
}

// === Whole bodies ===

fn body<'a>(dir: Direction, data: &'a [u8], guard: &impl Guard) -> Option<Accepted<'a>> {
    let (api, version, body) = message(data)?;
    let all = ALL_PLANS.get(api, version, dir).expect("compiled");
    let names = NAME_PLANS.get(api, version, dir).expect("compiled");
    let none = NO_PLANS.get(api, version, dir).expect("compiled");

    let verdict = guard.within(0, || validate(api, version, dir, body));
    for plan in [all, names, none] {
        let mut spy = Spy::over(body);
        let visited = guard.within(0, || plan.visit(body, &mut spy));
        assert_eq!(
            visited.is_ok(),
            verdict.is_ok(),
            "visit says {visited:?}, validate {verdict:?}"
        );
        assert!(visited.is_err() || spy.depth == 0);
        assert!(visited.is_err() || spy.digest == 0 || plan.is_interested());
        stream(plan, body, &verdict, &spy, guard);
        unchanged(plan, body, verdict.is_ok(), guard);
    }
    if verdict.is_ok() {
        renamed(names, body, guard);
        shortened(names, body, guard);
    }
    verdict.is_ok().then_some(Accepted {
        api,
        version,
        dir,
        body,
    })
}

/// The stream walker comes to the same verdict and stops where nothing of interest has been passed.
fn stream(
    plan: &Plan,
    body: &[u8],
    verdict: &Result<(), WalkError>,
    whole: &Spy,
    guard: &impl Guard,
) {
    let window = MAX_WINDOW
        + body
            .iter()
            .take(8)
            .map(|byte| usize::from(*byte))
            .sum::<usize>()
            % 100;
    let mut spy = Spy::over(body);
    let streamed = guard.within(SMALL, || {
        let mut walker = StreamWalker::new(plan, body.len() as u64);
        let mut at = 0;
        let mut ahead = window;
        loop {
            let input = &body[at..body.len().min(at + ahead)];
            match walker.next(input)? {
                Step::Skip(len) => {
                    assert!((1..=input.len()).contains(&len));
                    at += len;
                    // Short windows too, as they come from a socket.
                    ahead = 1 + (at * 7 + window) % window;
                }
                Step::NeedMore => {
                    assert!(
                        input.len() < MAX_WINDOW && at + input.len() < body.len(),
                        "stuck at {at}"
                    );
                    ahead = MAX_WINDOW;
                }
                Step::Stop(stop) => {
                    assert_eq!(stop.offset, at as u64);
                    spy.base = at;
                    spy.end = at;
                    return plan.visit_tail(stop, &body[at..], &mut spy);
                }
                Step::End => {
                    assert_eq!(at, body.len());
                    return Ok(());
                }
            }
        }
    });
    assert_eq!(
        streamed.is_ok(),
        verdict.is_ok(),
        "stream says {streamed:?}, validate {verdict:?}"
    );
    assert!(
        streamed.is_err() || spy.digest == whole.digest,
        "stream and whole visit see different fields"
    );
}

/// Rewriting without an edit gives the same bytes.
fn unchanged(plan: &Plan, body: &[u8], valid: bool, guard: &impl Guard) {
    struct Nothing;
    impl Rewrite for Nothing {
        fn field(&mut self, _field: &Field<'_>, _edits: &mut Edits<'_>) {}
    }
    let mut copy = body.to_vec();
    let mut segments = Segments::new();
    let rewritten = guard.within(SMALL, || {
        plan.rewrite(&mut copy, &mut Nothing, &mut segments)
    });
    assert_eq!(rewritten.is_ok(), valid);
    assert_eq!(copy, body);
    if valid {
        assert!(segments.is_identity());
        assert_eq!(segments.to_vec(&copy), body);
    }
}

/// With a prefix on every name the result is a valid body that holds just these names.
fn renamed(plan: &Plan, body: &[u8], guard: &impl Guard) {
    const PREFIX: &[u8] = b"tenant-";
    struct Renaming {
        names: Names,
        name: Vec<u8>,
    }
    impl Rewrite for Renaming {
        fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
            if let Value::Text(Some(name)) = field.value {
                self.name.truncate(PREFIX.len());
                self.name.extend_from_slice(name);
                self.names.push(&self.name);
                edits.set_text(Some(&self.name));
            }
        }
    }
    let mut copy = body.to_vec();
    let mut renaming = Renaming {
        names: Names::default(),
        name: PREFIX.to_vec(),
    };
    let mut segments = Segments::new();
    guard
        .within(SMALL + EDIT_FACTOR * body.len(), || {
            plan.rewrite(&mut copy, &mut renaming, &mut segments)
        })
        .expect("a valid body can be rewritten");
    let result = segments.to_vec(&copy);
    assert_eq!(segments.len(), result.len());
    let mut names = Names::default();
    plan.visit(&result, &mut names)
        .expect("the result is valid");
    assert_eq!(names.seen, renaming.names.seen);
}

/// With some elements dropped the result is a valid body that holds the names of the others.
fn shortened(plan: &Plan, body: &[u8], guard: &impl Guard) {
    #[derive(Default)]
    struct Dropping {
        names: Names,
        open: Vec<usize>,
    }
    impl Rewrite for Dropping {
        fn field(&mut self, field: &Field<'_>, edits: &mut Edits<'_>) {
            let Value::Text(Some(name)) = field.value else {
                return;
            };
            if field.spec.array && field.pos % 3 == 1 {
                edits.drop_element();
            } else {
                self.names.push(name);
            }
        }

        fn enter(&mut self, _spec: &'static FieldSpec, _pos: usize, _edits: &mut Edits<'_>) {
            self.open.push(self.names.seen.len());
        }

        fn leave(&mut self, spec: &'static FieldSpec, pos: usize, edits: &mut Edits<'_>) {
            let before = self.open.pop().expect("enter and leave are balanced");
            if spec.array && pos % 2 == 1 {
                edits.drop_element();
                self.names.seen.truncate(before);
            }
        }
    }
    let mut copy = body.to_vec();
    let mut dropping = Dropping::default();
    let mut segments = Segments::new();
    guard
        .within(SMALL + EDIT_FACTOR * body.len(), || {
            plan.rewrite(&mut copy, &mut dropping, &mut segments)
        })
        .expect("a valid body can be rewritten");
    let result = segments.to_vec(&copy);
    assert_eq!(segments.len(), result.len());
    assert!(result.len() <= body.len());
    let mut names = Names::default();
    plan.visit(&result, &mut names)
        .expect("the result is valid");
    assert_eq!(names.seen, dropping.names.seen);
}

/// Checks what a visit reports: fields in order, inside the body, values inside their field.
struct Spy {
    body: std::ops::Range<usize>,
    /// Where the visited bytes begin in the body.
    base: usize,
    /// End of the last field in the body.
    end: usize,
    depth: usize,
    digest: u64,
}

impl Spy {
    fn over(body: &[u8]) -> Self {
        let start = body.as_ptr().addr();
        Self {
            body: start..start + body.len(),
            base: 0,
            end: 0,
            depth: 0,
            digest: 0,
        }
    }
}

impl Visitor for Spy {
    fn field(&mut self, field: &Field<'_>) {
        let pos = self.base + field.pos;
        assert!(pos >= self.end, "{} at {pos} goes back", field.spec.name);
        self.end = pos + field.len;
        assert!(self.end <= self.body.len());
        self.digest = mix(mix(self.digest, pos as u64 + 1), field.entity as u64);
        match field.value {
            Value::Text(Some(bytes)) | Value::Bytes(Some(bytes)) | Value::Records(Some(bytes)) => {
                let start = bytes.as_ptr().addr();
                assert!(
                    start >= self.body.start + pos
                        && start + bytes.len() == self.body.start + self.end
                );
            }
            Value::Int(value) => self.digest = mix(self.digest, value as u64),
            _ => {}
        }
    }

    fn enter(&mut self, _spec: &'static FieldSpec, _pos: usize) {
        self.depth += 1;
    }

    fn leave(&mut self, _spec: &'static FieldSpec, _pos: usize) {
        self.depth -= 1;
    }
}

/// The names of a body in their order, as digests.
#[derive(Default)]
struct Names {
    seen: Vec<u64>,
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        self.seen
            .push(name.iter().fold(name.len() as u64, |digest, byte| {
                mix(digest, u64::from(*byte))
            }));
    }
}

impl Visitor for Names {
    fn field(&mut self, field: &Field<'_>) {
        if let Value::Text(Some(name)) = field.value {
            self.push(name);
        }
    }
}

fn mix(digest: u64, value: u64) -> u64 {
    (digest ^ value)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .rotate_left(29)
}

fn is_inside(part: &[u8], whole: &[u8]) -> bool {
    let (part, whole) = (part.as_ptr_range(), whole.as_ptr_range());
    whole.start <= part.start && part.end <= whole.end
}

// === Record sets ===

/// Reads everything there is to read.
fn record_set(set: &[u8]) {
    let mut end = 0;
    let mut complete = true;
    for entry in Batches::new(set) {
        match entry {
            Ok(Entry::Batch(batch)) => {
                assert_eq!(batch.range().start, end);
                end = batch.range().end;
                assert!(is_inside(batch.payload(), &set[batch.range()]));
                assert_eq!(
                    BatchHeader::parse(batch.bytes()).as_ref(),
                    Ok(batch.header())
                );
                let _ = (
                    batch.crc_is_valid(),
                    batch.header().last_offset(),
                    batch.header().delete_horizon(),
                );
                one_batch(&batch);
            }
            Ok(Entry::Legacy(message)) => {
                assert_eq!(message.range().start, end);
                end = message.range().end;
                assert!(is_inside(message.bytes(), set));
            }
            Ok(Entry::Partial(partial)) => {
                assert_eq!((partial.start, partial.available), (end, set.len() - end));
                complete = false;
            }
            Err(error) => {
                assert!((end..=set.len()).contains(&error.offset()));
                assert!(Summary::of(set).is_err());
                return;
            }
        }
    }
    assert_eq!(
        Summary::of(set).map(|summary| summary.complete_bytes),
        Ok(end)
    );
    assert_eq!(complete, end == set.len());
}

fn one_batch(batch: &wire::records::Batch<'_>) {
    let range = batch.range();
    let Ok(records) = batch.records() else {
        assert_ne!(batch.compression(), wire::records::Compression::None);
        return;
    };
    let mut verdict = Ok(());
    let mut count = 0_u32;
    let mut end = batch.payload_range().start;
    'records: for record in records {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                assert!((range.start..=range.end).contains(&error.offset()));
                verdict = Err(error);
                break;
            }
        };
        count += 1;
        assert_eq!(record.range().start, end);
        end = record.range().end;
        assert!(end <= range.end);
        let _ = (
            batch.header().offset(record.offset_delta),
            batch.header().timestamp(record.timestamp_delta),
        );
        for part in [record.key, record.value].into_iter().flatten() {
            assert!(is_inside(part, batch.payload()));
        }
        for header in record.headers() {
            match header {
                Ok(header) => assert!(is_inside(header.key, batch.payload())),
                Err(error) => {
                    verdict = Err(error);
                    break 'records;
                }
            }
        }
    }
    assert_eq!(batch.check_records(), verdict);
    assert!(verdict.is_err() || (count == batch.header().records_count && end == range.end));
}

/// A batch of `count` uncompressed records with a correct length and CRC.
fn batch_around(section: &[u8], count: u8) -> Vec<u8> {
    let mut batch = Vec::with_capacity(BatchHeader::LEN + section.len());
    batch.extend_from_slice(&0_i64.to_be_bytes());
    batch.extend_from_slice(&((BatchHeader::LEN - 12 + section.len()) as i32).to_be_bytes());
    batch.extend_from_slice(&[0, 0, 0, 0, 2, 0, 0, 0, 0]);
    batch.extend_from_slice(&[0; 36]);
    batch.extend_from_slice(&i32::from(count).to_be_bytes());
    batch.extend_from_slice(section);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch
}
