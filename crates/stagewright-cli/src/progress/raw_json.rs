//! Progress as JSON, an object a line, for programs.
//!
//! Every object has `event` and `at_ms`; those about a vertex have `vertex` (a number), `name` and
//! `step`. The events are `vertex_planned`, `vertex_started`, `vertex_log`, `vertex_progress`,
//! `vertex_finished` (with `cached`, `status` and, if it ran for a reason, `miss`), `warning`, and
//! at the end `build_finished`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Ending, Happening, Miss, Renderer, Update, VertexId};

/// Writes each update as one line of JSON.
#[derive(Debug)]
pub(crate) struct RawJson<W> {
    out: W,
    vertices: BTreeMap<VertexId, (String, bool)>,
}

impl<W: Write> RawJson<W> {
    pub(crate) fn new(out: W) -> Self {
        Self {
            out,
            vertices: BTreeMap::new(),
        }
    }

    fn line(
        &mut self,
        at: Duration,
        event: &str,
        vertex: Option<VertexId>,
        rest: Value,
    ) -> io::Result<()> {
        let mut object = json!({ "event": event, "at_ms": at.as_millis() as u64 });
        let map = object.as_object_mut().into_iter();
        for fields in map {
            if let Some(id) = vertex {
                let (name, step) = self.vertices.get(&id).cloned().unwrap_or_default();
                fields.insert("vertex".to_owned(), id.into());
                fields.insert("name".to_owned(), name.into());
                fields.insert("step".to_owned(), step.into());
            }
            if let Value::Object(rest) = &rest {
                fields.extend(rest.clone());
            }
        }
        writeln!(self.out, "{object}")
    }
}

impl<W: Write> Renderer for RawJson<W> {
    fn update(&mut self, update: &Update) -> io::Result<()> {
        let at = update.at;
        match &update.happening {
            Happening::Planned {
                id,
                name,
                stage,
                line,
                step,
            } => {
                self.vertices.insert(*id, (name.clone(), *step));
                self.line(
                    at,
                    "vertex_planned",
                    Some(*id),
                    json!({ "stage": stage, "line": line }),
                )
            }
            Happening::Started { id } => self.line(at, "vertex_started", Some(*id), json!({})),
            Happening::Log {
                id,
                bytes,
                is_stderr,
            } => {
                let stream = if *is_stderr { "stderr" } else { "stdout" };
                let text = String::from_utf8_lossy(bytes);
                self.line(
                    at,
                    "vertex_log",
                    Some(*id),
                    json!({ "stream": stream, "text": text }),
                )
            }
            Happening::Moved {
                id,
                label,
                bytes,
                total,
            } => {
                let rest = json!({ "label": label, "current_bytes": bytes, "total_bytes": total });
                self.line(at, "vertex_progress", Some(*id), rest)
            }
            Happening::Finished { id, ending } => {
                self.line(at, "vertex_finished", Some(*id), finished(ending))
            }
            Happening::Warning {
                message,
                line,
                finding,
            } => self.line(
                at,
                "warning",
                None,
                json!({ "message": message, "line": line, "finding": finding }),
            ),
        }
    }

    fn tick(&mut self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn finish(&mut self, now: Duration, succeeded: bool) -> io::Result<()> {
        self.line(
            now,
            "build_finished",
            None,
            json!({ "succeeded": succeeded }),
        )?;
        self.out.flush()
    }
}

fn finished(ending: &Ending) -> Value {
    match ending {
        Ending::Cached => json!({ "status": "cached", "cached": true }),
        Ending::Executed(miss) => json!({
            "status": "executed",
            "cached": false,
            "miss": miss.as_ref().map(missed),
        }),
        Ending::Shared => json!({ "status": "shared", "cached": true }),
        Ending::Failed(message) => json!({ "status": "failed", "cached": false, "error": message }),
        Ending::Cancelled => json!({ "status": "cancelled", "cached": false }),
    }
}

fn missed(miss: &Miss) -> Value {
    let changes: Vec<Value> = miss
        .changes
        .iter()
        .map(|change| {
            json!({
                "input": change.input,
                "name": change.name,
                "before": change.before,
                "after": change.after,
            })
        })
        .collect();
    json!({ "kind": miss.kind, "text": miss.text, "changes": changes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::board::tests::lesson;

    #[test]
    fn every_line_is_an_object_of_its_own() {
        let mut raw = RawJson::new(Vec::new());
        for update in lesson() {
            raw.update(&update).unwrap();
        }
        raw.finish(Duration::from_secs(4), true).unwrap();
        let text = String::from_utf8(raw.out).unwrap();
        for line in text.lines() {
            assert!(serde_json::from_str::<Value>(line).unwrap().is_object());
        }
        insta::assert_snapshot!(text);
    }
}
