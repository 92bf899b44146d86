//! Schedules a plan: key, look up, execute, record, explain.
