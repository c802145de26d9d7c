//! Places where a test stops the agent, to kill it there. Not in release builds.

use crate::settings::Settings;

/// Called right before each step that a crash may come before. In builds for tests it never comes back if the
/// settings name the step; else it does nothing.
pub(crate) async fn before(settings: &Settings, step: &'static str) {
    #[cfg(debug_assertions)]
    if settings.halt_before.as_deref() == Some(step) {
        tracing::info!(step, "halted");
        std::future::pending::<()>().await;
    }
    #[cfg(not(debug_assertions))]
    let _ = (settings, step);
}
