//! Ctrl-C: the first ends the work in good order, the second ends the program.

use crate::error::{Error, ErrorKind};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Exit code after a second Ctrl-C.
const INTERRUPTED: i32 = 1;

/// A flag that Ctrl-C and SIGTERM raise; a second one ends the program at once.
pub fn stop() -> Result<Arc<AtomicBool>, Error> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, INTERRUPTED, stop.clone())
            .and_then(|_| flag::register(signal, stop.clone()))
            .map_err(|e| Error::new(ErrorKind::Usage, "signals", e.to_string()))?;
    }
    Ok(stop)
}
