//! The resources of the gateway, kept in compacted topics of the backing cluster and mirrored in memory.
