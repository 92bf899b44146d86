//! What tells events while it blocks.

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use stagewright::{Error, Events, PushEvents, json};

use crate::errors::{detached, raised};

/// Runs something of the facade with Python's lock released, on a thread of its own if there is a function that
/// takes the events: it is called on this one. What the function raises is raised when the work has ended.
pub(crate) fn telling<T: Send + 'static>(
    py: Python<'_>,
    on_event: Option<&Bound<'_, PyAny>>,
    work: impl FnOnce(PushEvents) -> Result<T, Error> + Send + 'static,
) -> PyResult<T> {
    let (tell, mut events) = Events::channel();
    let Some(on_event) = on_event else {
        drop(events);
        return detached(py, || work(tell));
    };
    let worker = std::thread::spawn(move || work(tell));
    let mut fault = None;
    loop {
        let open = &mut events;
        let Some(event) = py.detach(move || open.next_blocking()) else {
            break;
        };
        if fault.is_none() {
            let told = on_event.call1((json::event(&event).to_string(),));
            fault = told.and_then(|_| py.check_signals()).err();
        }
    }
    let ended = py
        .detach(move || worker.join())
        .map_err(|_| PyRuntimeError::new_err("the work ended without a result"))?;
    match fault {
        Some(fault) => Err(fault),
        None => ended.map_err(|error| raised(py, &error)),
    }
}
