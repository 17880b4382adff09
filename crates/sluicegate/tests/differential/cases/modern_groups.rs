//! stub
pub(crate) fn consumer_describe(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn consumer_heartbeat(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn streams_describe(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
pub(crate) fn streams_heartbeat(_run: &mut crate::side::Run<'_>) -> testkit::Result<()> { Ok(()) }
