//! Ctrl-C, and a terminal or a system that goes away.

use super::report::Failure;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set at the first Ctrl-C. A second one ends the program at once.
pub fn flag() -> Result<&'static AtomicBool, Failure> {
    static FLAG: AtomicBool = AtomicBool::new(false);
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        ctrlc::set_handler(|| {
            if FLAG.swap(true, Ordering::SeqCst) {
                let term = console::Term::stdout();
                if term.is_term() {
                    let _ = term.show_cursor();
                }
                std::process::exit(130);
            }
        })
        .map_err(|e| e.to_string())
    });
    match installed {
        Ok(()) => Ok(&FLAG),
        Err(error) => Err(Failure::Run(format!("can't watch for Ctrl-C: {error}"))),
    }
}
