//! Build checks: what a Dockerfile may do and better doesn't.
//!
//! [`check`] runs the 22 checks of BuildKit, under their names. `# check=` at the top of the file,
//! or directly above an instruction, skips some or asks for those that are experimental.
//!
//! ```
//! use stagewright_dockerfile::Dockerfile;
//! use stagewright_dockerfile::checks::{CheckContext, Rule, check};
//!
//! let dockerfile = Dockerfile::parse(b"FROM scratch\nENV PASSWORD=x\n").unwrap();
//! let report = check(&dockerfile, &CheckContext::default()).unwrap();
//! assert_eq!(report.findings[0].rule, Rule::SecretsUsedInArgOrEnv);
//! assert_eq!(report.findings[0].span.start.line, 2);
//! ```

mod config;
mod finding;
mod instructions;
mod rule;
mod stages;
mod variables;

#[cfg(test)]
mod tests;

pub use config::CheckConfig;
pub use finding::{BasePlatform, CheckContext, Finding, OfBase, Report, check};
pub use rule::Rule;
