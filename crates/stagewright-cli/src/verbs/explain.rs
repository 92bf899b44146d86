//! `stagewright explain`.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;

use stagewright::{Builder, Explained, Verdict, json};

use super::input;
use crate::arguments::{ExplainArguments, Format};
use crate::failure::Failure;
use crate::progress::{Terminal, columns, cut};
use crate::settings::wants_colour;

/// Prints what a build would do.
pub(crate) fn run(builder: &Builder, arguments: &ExplainArguments) -> Result<(), Failure> {
    if arguments.build.platform.len() > 1 {
        let message = "explain one platform at a time";
        return Err(Failure::Usage(message.to_owned()));
    }
    let input = input::read(&arguments.build)?;
    let explained = builder.explain(input.request.clone())?;
    match arguments.format {
        Format::Json => println!("{:#}", json::explanation(&explained)),
        Format::Table => {
            let terminal = Terminal::of(std::io::stdout().as_fd(), wants_colour());
            print!("{}", text(&explained, terminal));
        }
    }
    Ok(())
}

/// Writes a line for each step, its verdict in a column of its own, and a line that sums up.
fn text(explained: &[Explained], terminal: Option<Terminal>) -> String {
    let width = terminal.map(|terminal| terminal.columns);
    let names: BTreeMap<u64, &str> = explained
        .iter()
        .map(|one| (one.vertex.id, label(&one.vertex.name)))
        .collect();
    let steps: Vec<&Explained> = explained
        .iter()
        .filter(|one| one.verdict != Verdict::Source)
        .collect();
    // What is left for a name beside the verdict and a reason that says something.
    let name_columns_max = width.map_or(60, |width| (width / 2).max(24));
    let shown: Vec<String> = steps
        .iter()
        .map(|one| cut(&one.vertex.name, name_columns_max))
        .collect();
    let name_columns = shown.iter().map(|name| columns(name)).max().unwrap_or(0);
    let mut text = String::new();
    for (one, name) in steps.iter().zip(&shown) {
        let (mark, code, reason) = said(&one.verdict, &names);
        let padding = " ".repeat(name_columns - columns(name));
        let mark = if terminal.is_some_and(|terminal| terminal.colour) {
            format!("\x1b[{code}m{mark:<7}\x1b[0m")
        } else {
            format!("{mark:<7}")
        };
        let line = format!("{name}{padding}  {mark}  ");
        let room = width.map(|width| width.saturating_sub(name_columns + 11));
        let reason = match room {
            Some(room) => cut(&reason, room.max(20)),
            None => reason,
        };
        text.push_str(format!("{line}{reason}").trim_end());
        text.push('\n');
    }
    text.push_str(&summary(&steps));
    text
}

/// Returns a verdict's word, its colour, and what explains it.
fn said(verdict: &Verdict, names: &BTreeMap<u64, &str>) -> (&'static str, &'static str, String) {
    match verdict {
        Verdict::Hit => ("cached", "32", String::new()),
        Verdict::Miss(reason) => ("runs", "33", reason.to_string()),
        Verdict::DependsOn(vertices) => {
            let names: Vec<&str> = vertices
                .iter()
                .map(|id| names.get(id).copied().unwrap_or("a source"))
                .collect();
            let verb = if names.len() == 1 { "makes" } else { "make" };
            let text = format!("on what {} {verb}", names.join(" and "));
            ("depends", "36", text)
        }
        Verdict::Unknown(why) => ("unknown", "35", why.clone()),
        _ => ("source", "0", String::new()),
    }
}

/// Returns the part of a name that names it: `[build 2/5]` of `[build 2/5] RUN npm ci`.
fn label(name: &str) -> &str {
    match name.find(']') {
        Some(end) if name.starts_with('[') => &name[..=end],
        _ => name,
    }
}

fn summary(steps: &[&Explained]) -> String {
    let count =
        |wanted: fn(&Verdict) -> bool| steps.iter().filter(|one| wanted(&one.verdict)).count();
    let cached = count(|verdict| matches!(verdict, Verdict::Hit));
    let runs = count(|verdict| matches!(verdict, Verdict::Miss(_)));
    let rest = steps.len() - cached - runs;
    let mut parts = vec![format!("{cached} of {} steps cached", steps.len())];
    if runs > 0 {
        parts.push(format!("{runs} would run"));
    }
    if rest > 0 {
        parts.push(format!("{rest} can be told only then"));
    }
    format!("\n{}\n", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use stagewright::{MissReason, VertexInfo};

    use super::*;

    fn one(id: u64, name: &str, verdict: Verdict) -> Explained {
        Explained {
            vertex: VertexInfo {
                id,
                name: name.to_owned(),
                stage: String::new(),
                inputs: Vec::new(),
                line: Some(1),
                step: true,
            },
            verdict,
        }
    }

    #[test]
    fn the_columns_are_aligned_and_the_sum_is_right() {
        let explained = [
            one(0, "[1/4] FROM scratch", Verdict::Source),
            one(1, "[2/4] COPY a /", Verdict::Hit),
            one(
                2,
                "[3/4] COPY package.json ./",
                Verdict::Miss(MissReason::FirstRun),
            ),
            one(3, "[4/4] RUN make", Verdict::DependsOn(vec![2])),
        ];
        let expected = "[2/4] COPY a /              cached\n\
                        [3/4] COPY package.json ./  runs     has not run before\n\
                        [4/4] RUN make              depends  on what [3/4] makes\n\
                        \n1 of 3 steps cached, 1 would run, 1 can be told only then\n";
        assert_eq!(text(&explained, None), expected);
    }

    #[test]
    fn a_line_fits_the_terminal() {
        let long = "x".repeat(100);
        let terminal = Terminal {
            columns: 80,
            rows: 24,
            colour: false,
        };
        let explained = [one(
            1,
            &format!("[2/2] RUN {long}"),
            Verdict::Unknown(long.clone()),
        )];
        let text = text(&explained, Some(terminal));
        let first = text.lines().next().unwrap_or_default();
        assert!(columns(first) <= 80, "{first}");
    }
}
