//! stub
pub(crate) fn acknowledge(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn alter_offsets(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn delete_offsets(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn describe(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn describe_offsets(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn fetch(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn heartbeat(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
