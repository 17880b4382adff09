//! stub
pub(crate) fn add_offsets(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn add_partitions(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn describe(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn describe_producers(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn end(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn init_producer_id(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn list(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn offset_commit(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
