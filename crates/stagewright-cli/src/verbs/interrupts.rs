//! Signals that end what is running.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use anyhow::Context;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};

use crate::failure::Failure;

/// The signals that end what is running.
pub(crate) struct Interrupts {
    heard: Arc<AtomicU8>,
    handle: Handle,
}

impl Interrupts {
    /// Cancels on the first signal, and ends the process on the second.
    pub(crate) fn listen(cancel: impl Fn() + Send + 'static) -> Result<Self, Failure> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).context("listening for signals")?;
        let handle = signals.handle();
        let heard = Arc::new(AtomicU8::new(0));
        let first = Arc::clone(&heard);
        thread::spawn(move || {
            for signal in signals.forever() {
                let number = u8::try_from(signal).unwrap_or(u8::MAX);
                if first.swap(number, Ordering::SeqCst) != 0 {
                    // Somebody means it. Steps die with this process.
                    std::process::exit(128 + signal);
                }
                cancel();
            }
        });
        Ok(Self { heard, handle })
    }

    /// Returns the signal that came, if one did.
    pub(crate) fn heard(&self) -> Option<u8> {
        match self.heard.load(Ordering::SeqCst) {
            0 => None,
            signal => Some(signal),
        }
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.handle.close();
    }
}
