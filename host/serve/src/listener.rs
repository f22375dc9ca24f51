//! The observer of a scheduler.

use elt_host::{Event, Level};

use super::record::SyncRecord;
use super::tenant_id::TenantId;

/// Is told what happens, on the threads that run syncs: must not block.
pub trait Listener: Send + Sync {
    /// An event of a tenant's sync.
    fn event(&self, tenant: &TenantId, event: Event);
    /// A sync starts.
    fn started(&self, _: &SyncRecord) {}
    /// A sync has ended.
    fn ended(&self, _: &SyncRecord) {}
    /// A line about no tenant in particular, or about the entry of one.
    fn log(&self, level: Level, message: String);
}
